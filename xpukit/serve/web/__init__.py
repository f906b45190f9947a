"""The page of `serve --web`: launches chosen in a browser, on loopback only, answered by the planner itself."""
