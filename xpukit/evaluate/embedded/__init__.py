"""The embedded engine: measurements made by our own worker processes on oneDNN, dpctl and oneCCL."""
