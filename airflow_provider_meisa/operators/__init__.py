"""Tasks that enroll contacts."""
