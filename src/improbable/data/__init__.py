"""From a user's data to encoded rows and back. Nothing here imports torch."""
