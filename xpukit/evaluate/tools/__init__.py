"""The vendor's own measuring tools: their readings as measurements under the names of the embedded engine."""
