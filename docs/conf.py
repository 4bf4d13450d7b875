"""How Sphinx builds these pages; it asks nothing of the network."""

import os
import tempfile

from airflow_provider_meisa import __version__

# Airflow makes a home where it is imported, and autodoc imports it.
_home = tempfile.TemporaryDirectory(prefix="meisa-docs-")
os.environ.setdefault("AIRFLOW_HOME", _home.name)

project = "airflow-provider-meisa"
author = "The airflow-provider-meisa authors"
project_copyright = "The airflow-provider-meisa authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

default_role = "py:obj"
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
# The description of a parameter lists its choices.
autodoc_type_aliases = dict.fromkeys(
    ("FileFormat", "OnAmbiguous", "OnChangedAudience", "OnMissing", "OnNo"), "str"
)
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
add_module_names = False

html_theme = "furo"
html_title = f"airflow-provider-meisa {version}"
html_static_path = ["_static"]
html_css_files = ["reading.css"]
html_copy_source = False
html_show_sphinx = False
