"""Long work that goes on after kill -9: journals of finished pieces, and folders that belong to one setting."""
