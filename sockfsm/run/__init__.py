"""Running a program under the tracer: its environment, its signals, its end."""
