"""A fake of the hosted Pi API, and what is proved against it."""
