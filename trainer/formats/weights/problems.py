"""What is wrong with a file of weights, in one clause: by its bytes, or by torch's error about its tensors."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.formats.weights.header import read_header
from trainer.inference.printable import cause_of, excerpt, printable

_HEAD = 512  # bytes that tell the kind of a file
_LFS = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")
_ZIP = b"PK\x03\x04"
_MISSING = re.compile(r"Missing key\(s\) in state_dict: (.*)")
_UNKNOWN = re.compile(r"Unexpected key\(s\) in state_dict: (.*)")
_RESHAPED = re.compile(r"size mismatch for (\S+): .*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)")


def unreadable_because(file: Path, error: Exception) -> str:
    """Why a file of weights cannot be read.

    Args:
        error: raised by the library that should read it.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
        header = read_header(file)
    except OSError as problem:
        return problem.strerror or cause_of(problem)
    whole = None if header is None else header.whole_file
    if not size:
        return "the file is empty"
    if head.startswith(_LFS):
        return "the file is a pointer of Git LFS, which `git lfs pull` replaces by the weights"
    if head.lstrip().lower().startswith(_WEB_PAGE):
        return "the file is a web page: download the weights themselves"
    if file.suffix == ".safetensors":
        if whole is not None:
            truncated = f"the file is truncated: it has {size:,} of {whole:,} bytes"
            return truncated if size < whole else cause_of(error)
        if head.startswith(_ZIP):
            return f"the file is in the format of PyTorch: name it {printable(file.stem)}.pth"
        return "the file is not in the format of safetensors"
    if whole is not None:
        return f"the file is in the format of safetensors: name it {printable(file.stem)}.safetensors"
    if head.startswith(_ZIP):
        return "the file is truncated or damaged, or it holds other objects than tensors"
    return "the file is not in the format of PyTorch, or it holds other objects than tensors"


def misfit_because(error: Exception) -> str:
    """Why tensors do not fit a network, by torch's error, which names every one: their numbers, and an example each.

    A KeyError is timm's, while it renames the tensors of a file in the format of the network's authors.
    """
    if isinstance(error, KeyError) and error.args:
        name = _shown(str(error.args[0]))
        return f"timm stopped at the tensor {name} while it converted them; they seem to be those of another network"
    missing, unknown, reshaped = list[str](), list[str](), list[tuple[str, str, str]]()
    for line in str(error).splitlines():
        if found := _MISSING.search(line):
            missing = re.findall(r'"([^"]*)"', found[1])
        elif found := _UNKNOWN.search(line):
            unknown = re.findall(r'"([^"]*)"', found[1])
        elif found := _RESHAPED.search(line):
            reshaped.append((found[1], found[2], found[3]))
    parts = [f"{len(missing)} missing, such as {_shown(missing[0])}"] if missing else []
    parts += [f"{len(unknown)} unknown, such as {_shown(unknown[0])}"] if unknown else []
    if reshaped:
        name, given, wanted = reshaped[0]
        parts.append(f"{len(reshaped)} of another shape, such as {_shown(name)}: {given} instead of {wanted}")
    if not parts:
        return cause_of(error)
    of_another = "; they seem to be those of another network" * bool(missing and (unknown or reshaped))
    return f"tensors: {', '.join(parts)}{of_another}"


def _shown(name: str) -> str:
    return excerpt(printable(name))
