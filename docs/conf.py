"""How Sphinx builds these pages; it asks nothing of the network."""

import os
import tempfile

# Airflow makes a home where it is imported, and autodoc imports it.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="meisa-docs-"))

from airflow_provider_meisa import __version__

project = "airflow-provider-meisa"
author = "The airflow-provider-meisa authors"
project_copyright = "The airflow-provider-meisa authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
add_module_names = False

html_theme = "furo"
html_title = f"airflow-provider-meisa {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
