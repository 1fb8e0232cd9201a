"""Builds `edgepose._C` with ninja: CPU kernels at every SIMD level, CUDA kernels where a toolkit is found.

`python setup.py ninja` builds it into the source tree without reading pyproject.toml, whose SPDX license setuptools of
before 77 refuses: for machines on which nothing can be installed. Needs pybind11 and ninja as well.

In the source tree (`setup.py build_ext --inplace`, `pip install -e`) it builds for this machine: CUDA kernels for its
GPU, and none where there is no GPU. A wheel gets every architecture.

Environment:
  EDGEPOSE_CUDA=auto|on|off      auto (default): use nvcc if it is there and can link; on: fail without it
  EDGEPOSE_CUDA_ARCHS=75,90      CUDA kernels for these compute capabilities (`native`: this GPU's; `all`: every one)
  EDGEPOSE_WERROR=1              warnings are errors (CI)
  EDGEPOSE_STATIC_CXX=1          the C++ runtime comes along (wheels): older systems have an older one
  EDGEPOSE_SANITIZE=address,undefined
  CXX, NVCC                      the compilers
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"

X86 = platform.machine().lower() in ("x86_64", "amd64")
# The same kernel sources are compiled once per level; csrc/dispatch.cpp picks one at run time.
SIMD_LEVELS = {
    "scalar": ["-DEDGEPOSE_SCALAR", "-fno-tree-vectorize"],
    "baseline": [],  # SSE2 on x86-64, NEON on ARM
    **(
        {
            "avx2": ["-mavx2", "-mfma", "-mf16c"],
            "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c",
                       "-mprefer-vector-width=512"],
        }
        if X86
        else {}
    ),
}  # fmt: skip
COMMON_FLAGS = ["-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
CXX_FLAGS = ["-std=c++17", "-Wall", "-Wextra", "-fno-math-errno", "-fno-trapping-math", "-fno-semantic-interposition"]
CUDA_ARCHS = [75, 80, 90, 100, 120]  # code for x.0 also runs on x.y: 8.0 serves 8.6, 8.7 and 8.9
GPU_DEVICES = ("nvidiactl", "nvidia0", "nvhost-gpu", "dxg")  # of the driver, of Jetson boards, of WSL
NEEDS_CXX = (
    "edgepose: building needs a C++17 compiler, and none was found. Install one (Debian/Ubuntu: apt-get install g++, "
    "Fedora: dnf install gcc-c++, macOS: xcode-select --install), or set CXX to the one you have."
)


def compiles(command: list[str], suffix: str, source: str) -> bool:
    """Whether `command -o OUT SOURCE` succeeds on a tiny source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"probe{suffix}")
        path.write_text(source)
        try:
            done = subprocess.run([*command, "-o", str(Path(folder, "probe.so")), str(path)], capture_output=True)
        except OSError:
            return False
        return done.returncode == 0


def find_cxx() -> list[str]:
    candidates = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    for candidate in candidates:
        if shutil.which(candidate[0]) and compiles(
            [*candidate, "-std=c++17", "-shared", "-fPIC"], ".cpp", "#include <optional>\nstd::optional<int> probe;\n"
        ):
            return candidate
    sys.exit(NEEDS_CXX)


def wanted_archs(in_tree: bool) -> str:
    """`native`, `all`, or compute capabilities; empty: no CUDA kernels."""
    mode = os.environ.get("EDGEPOSE_CUDA", "auto")
    if mode not in ("auto", "on", "off"):
        sys.exit(f"edgepose: EDGEPOSE_CUDA expected auto, on or off, got {mode!r}.")
    if mode == "off":
        return ""
    if named := os.environ.get("EDGEPOSE_CUDA_ARCHS"):
        return named
    if in_tree and any(Path("/dev", name).exists() for name in GPU_DEVICES):
        return "native"
    if in_tree and mode == "auto":
        sys.stderr.write("edgepose: building without CUDA kernels: no GPU here (EDGEPOSE_CUDA=on for them).\n")
        return ""
    return "all"


def find_nvcc(cxx: list[str]) -> str | None:
    """Path of an nvcc that can compile and link against the static runtime; without one EDGEPOSE_CUDA=on fails."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = os.environ.get("NVCC") or shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if nvcc is None:
        problem = "nvcc was not found"
    elif not compiles(
        [nvcc, "-ccbin", cxx[0], "-shared", "-Xcompiler", "-fPIC", "-cudart", "static"],
        ".cu", "__global__ void probe() {}\nvoid launch() { probe<<<1, 1>>>(); }\n",
    ):  # fmt: skip
        problem = f"{nvcc} cannot build a library (is the static CUDA runtime, libcudart_static.a, installed?)"
    else:
        return nvcc
    if os.environ.get("EDGEPOSE_CUDA") == "on":
        sys.exit(f"edgepose: EDGEPOSE_CUDA=on, but {problem}. Install the CUDA toolkit or set EDGEPOSE_CUDA=auto.")
    sys.stderr.write(f"edgepose: building without CUDA kernels: {problem}.\n")
    return None


def gencode(nvcc: str, wanted: str) -> list[str]:
    """Machine code for the wanted architectures (`all`: that this nvcc knows), and PTX of the newest for later ones."""
    if wanted == "native":
        return ["-arch=native"]
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    known = {int(arch) for arch in re.findall(r"compute_(\d+)\b", listed)}
    archs = [int(arch) for arch in wanted.split(",")] if wanted != "all" else sorted(known.intersection(CUDA_ARCHS))
    if not archs or not known.issuperset(archs):
        sys.exit(f"edgepose: this nvcc knows compute capabilities {sorted(known)}, not {wanted}.")
    flags = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    return [*flags, f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"]


def ninja_executable() -> str:
    try:
        import ninja
    except ImportError:
        found = shutil.which("ninja")
    else:
        found = str(Path(ninja.BIN_DIR, "ninja"))
    return found or sys.exit("edgepose: building needs ninja: pip install ninja.")


def all_bindings(folder: Path) -> Path:
    """One source that includes every binding: pybind11's headers take longer to compile than what uses them."""
    path = folder / "bindings.cpp"
    sources = sorted((CSRC / "bindings").glob("*.cpp"))
    text = "".join(f'#include "bindings/{source.name}"\n' for source in sources)
    if not path.exists() or path.read_text() != text:  # else ninja would compile it again
        path.write_text(text)
    return path


def build_file(output: Path, folder: Path, in_tree: bool) -> str:
    """The text of build.ninja."""
    import pybind11

    cxx = find_cxx()
    archs = wanted_archs(in_tree)
    nvcc = find_nvcc(cxx) if archs else None
    strict = os.environ.get("EDGEPOSE_WERROR", "0") == "1"
    sanitize = os.environ.get("EDGEPOSE_SANITIZE", "")
    hardening = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g1", "-O1"] if sanitize else []
    includes = [f"-I{CSRC}"]
    python = [f"-isystem{path}" for path in (pybind11.get_include(), sysconfig.get_path("include"))]
    if not sanitize:
        python.append("-DNDEBUG")  # else pybind11 asks at every reference it counts for the interpreter's lock
    cflags = [*COMMON_FLAGS, *CXX_FLAGS, *hardening, *(["-Werror"] if strict else []), *includes]
    if nvcc:
        python.append("-DEDGEPOSE_WITH_CUDA")
    lines = [
        "ninja_required_version = 1.10",
        f"rule cxx\n  command = {shlex.join([*cxx, *cflags])} $flags -MMD -MF $out.d -c $in -o $out",
        "  depfile = $out.d\n  deps = gcc\n  description = C++ $out",
    ]
    objects = []

    def compile_to(name: str, rule: str, source: Path, flags: list[str]) -> None:
        objects.append(name)
        lines.append(f"build {name}: {rule} {ninja_path(source)}\n  flags = {shlex.join(flags)}")

    compile_to("bindings.o", "cxx", all_bindings(folder), python)  # first, as it takes longest
    for source in sorted((CSRC / "cpu").glob("*.cpp")):
        for level, flags in SIMD_LEVELS.items():
            compile_to(f"{source.stem}.{level}.o", "cxx", source, [f"-DEDGEPOSE_LEVEL={level}", *flags])
    for source in sorted(CSRC.glob("*.cpp")):
        compile_to(f"{source.stem}.o", "cxx", source, [])
    if nvcc:
        host = ["-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", *(["-Werror"] if strict else [])]
        cuda = [nvcc, "-ccbin", cxx[0], "-std=c++17", "-O3", *gencode(nvcc, archs), *includes]
        cuda += ["-Xcompiler", ",".join(host), "--threads", "0", *(["-Werror=all-warnings"] if strict else [])]
        lines.append(f"rule cuda\n  command = {shlex.join(cuda)} -MD -MF $out.d -c $in -o $out")
        lines.append("  depfile = $out.d\n  deps = gcc\n  description = CUDA $out")
        for source in sorted((CSRC / "cuda").glob("*.cu")):
            compile_to(f"{source.stem}.cuda.o", "cuda", source, [])
        # nvcc links: it knows where its static runtime lies. The runtime's symbols stay private to this library.
        linker = [nvcc, "-ccbin", cxx[0], "-shared", "-cudart", "static", "-Xlinker", "--exclude-libs,ALL"]
        linker += ["-Xcompiler", "-static-libstdc++", "-Xlinker", "--gc-sections"] if static_cxx() else []
    else:
        linker = [*cxx, "-shared", *hardening[:1]]
        linker += ["-static-libstdc++", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL"] if static_cxx() else []
        if sys.platform == "darwin":
            linker += ["-undefined", "dynamic_lookup"]
    threads = [] if sys.platform == "darwin" or nvcc else ["-pthread"]
    lines.append(f"rule link\n  command = {shlex.join([*linker, *threads])} $in -o $out\n  description = LINK $out")
    lines.append(f"build {ninja_path(output)}: link {' '.join(objects)}\ndefault {ninja_path(output)}\n")
    return "\n".join(lines)


def static_cxx() -> bool:
    """Whether the C++ runtime is linked in; hidden, so that it never meets the one of another module."""
    return os.environ.get("EDGEPOSE_STATIC_CXX", "0") == "1" and sys.platform == "linux"


def ninja_path(path: Path) -> str:
    return re.sub(r"([$: ])", r"$\1", str(path))


def build(output: Path, in_tree: bool) -> None:
    """Hands the whole extension to ninja, which compiles in parallel and only what changed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    variant = f"ninja-{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    folder = ROOT / "build" / (variant + ("-sanitize" if os.environ.get("EDGEPOSE_SANITIZE") else ""))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build.ninja").write_text(build_file(output, folder, in_tree))
    jobs = [f"-j{os.environ['MAX_JOBS']}"] if os.environ.get("MAX_JOBS") else []
    try:
        subprocess.run([ninja_executable(), "-C", str(folder), *jobs], check=True)
    except subprocess.CalledProcessError:
        sys.exit("edgepose: compiling edgepose._C failed; the compiler's own message stands above.")


class NinjaBuild(build_ext):
    def run(self) -> None:
        self.in_tree = bool(self.inplace or self.editable_mode)  # the parent clears `inplace` while it builds
        super().run()

    def build_extension(self, ext: Extension) -> None:
        build(Path(self.get_ext_fullpath(ext.name)).resolve(), self.in_tree)


sources = [str(path.relative_to(ROOT)) for path in sorted(CSRC.rglob("*")) if path.suffix in (".cpp", ".cu")]
headers = [str(path.relative_to(ROOT)) for path in sorted(CSRC.rglob("*")) if path.suffix in (".h", ".cuh", ".inc")]
if sys.argv[1:] == ["ninja"]:
    build(ROOT / "edgepose" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}", in_tree=True)
else:
    setup(
        ext_modules=[Extension("edgepose._C", sources=sources, depends=headers)],
        cmdclass={"build_ext": NinjaBuild},
    )
