"""Building the driver of the GPU that is not there, for the torch of this environment."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import torch

DRIVER = Path(__file__).parent / "driver"
SOURCES = ("memory.c", "device.c", "libraries.c")
LIBRARY = "null_cuda.so"
BESIDE = {"libcuda.so.1": "libcuda.c", "libnvidia-ml.so.1": "nvml.c"}
"""Libraries that torch and Triton open by name."""
CUDA_NAME = re.compile(r"(cuda|cudnn|cublas|cusparse|cusolver|cufft)[A-Z]\w*")
REAL = {
    *("cudaGetErrorName", "cudaGetErrorString", "cublasGetStatusString", "cublasGetVersion_v2", "cublasLtGetVersion"),
    *("cudnnGetVersion", "cudnnGetCudartVersion", "cudnnGetProperty", "cudnnGetErrorString", "cudnnGetLastErrorString"),
}
"""Functions that need no GPU; CUDA's own are used."""


def missing() -> str:
    """What the driver cannot be built without here; empty: nothing."""
    if torch.version.cuda is None:
        return "torch is a build for CPUs"
    for program in ("gcc", "nm"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    if not any((folder / "cuda_runtime_api.h").exists() for folder in _headers()):
        return "there are no headers of CUDA"
    return ""


def build(folder: Path) -> Path:
    """Build the library that `LD_PRELOAD` loads, and others beside it for `LD_LIBRARY_PATH`; return the first.

    Raises:
        subprocess.CalledProcessError: gcc refuses; its messages are on standard error.
    """
    stubs = folder / "stubs.c"
    stubs.write_text(_stubs())
    includes = [f"-I{path}" for path in (DRIVER, *_headers())]
    common = ["gcc", "-O1", "-shared", "-fPIC", "-w"]
    sources = [str(DRIVER / name) for name in SOURCES]
    library = folder / LIBRARY
    subprocess.run([*common, *includes, "-o", str(library), *sources, str(stubs), "-ldl", "-lpthread"], check=True)
    for name, source in BESIDE.items():
        subprocess.run([*common, "-o", str(folder / name), str(DRIVER / source)], check=True)
    return library


def _stubs() -> str:
    """A function that does nothing for every other function of CUDA that torch imports."""
    libraries = [path for name in ("libtorch*.so", "libc10*.so") for path in _torch_libraries().glob(name)]
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", *map(str, libraries)], capture_output=True, text=True, check=True
    )
    imported = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines() if " U " in line}
    written = set(re.findall(r"\b(cu\w+)\(", "".join((DRIVER / name).read_text() for name in SOURCES)))
    left = {name for name in imported if CUDA_NAME.fullmatch(name)} - written - REAL
    return "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(left))


def _torch_libraries() -> Path:
    return Path(torch.__file__).parent / "lib"


def _headers() -> list[Path]:
    """Folders of CUDA's headers, as the wheels of torch's dependencies bring them, then those of the system."""
    site = Path(torch.__file__).parents[1]
    # Some wheels lack the folder crt/, which that of Triton has.
    found = [*site.glob("nvidia/*/include"), site / "triton/backends/nvidia/include", Path("/usr/local/cuda/include")]
    return [folder for folder in found if folder.is_dir()]
