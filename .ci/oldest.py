"""Print the oldest release of each dependency that pyproject.toml allows, a line each, for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *extras["test"], *extras["astro"], *extras["cryoem"], *extras["mri"]]:
    if ">=" in requirement:
        print(re.sub(r">=([^,]+).*", r"==\1", requirement))
