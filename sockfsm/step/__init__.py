"""The terminal view that steps through a scenario: `sockfsm simulate X --step`."""
