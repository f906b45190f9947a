"""What is wrong with a machine and what to do: checks over its readings, known errors in its logs."""
