"""Functions as tasks that enroll what they return."""
