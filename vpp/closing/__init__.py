"""What comes after an event: who is paid what, what is published, disputed, corrected, settled and archived."""
