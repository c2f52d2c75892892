"""The call log on disk: its layout, its writer and its reader."""
