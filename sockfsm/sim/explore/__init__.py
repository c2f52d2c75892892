"""Every schedule of a scenario: searched, and the shortest one to each fault."""
