"""A lifecycle e-mail service in Django REST Framework, written from what is published of Meisa's API."""
