"""Ready means right: a service is asked through its API, and its answers are judged."""
