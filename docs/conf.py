"""How Sphinx builds these pages; it needs no network and no Airflow."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_scripts"), str(DOCS.parent)]

from airflow_provider_meisa import __version__  # noqa: E402 (from this checkout)

project = "airflow-provider-meisa"
author = "The airflow-provider-meisa authors"
project_copyright = "The airflow-provider-meisa authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton", "llms_txt", "status_index"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["alert"]

html_theme = "furo"
html_title = f"airflow-provider-meisa {version}"
html_static_path = ["_static"]
html_css_files = ["reading.css"]
html_copy_source = False
html_show_sphinx = False

# Of a console, the button copies the commands, without the prompt and without what they print.
copybutton_prompt_text = "$ "
