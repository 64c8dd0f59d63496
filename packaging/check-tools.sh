#!/bin/sh
# Says plainly which tools a make target needs and this machine lacks, with the package that has them.
# Usage: check-tools.sh build|test|bench|instructions|soak PYTHON
set -u
purpose=$1
python=$2
missing=""

need() { # need COMMAND PACKAGE WHY
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing
  $1  (Debian package $2): $3"
}

case $purpose in
build)
    if ! command -v "$python" >/dev/null 2>&1; then
        missing="$missing
  $python  (Debian package python3): kumo is a Python package"
    else
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || missing="$missing
  Python 3.11 or later: $("$python" --version 2>&1) is too old; name another with make PYTHON=..."
        "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing
  venv  (Debian package python3-venv): the environment is made with it"
        header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"] + "/Python.h")' 2>/dev/null)
        [ -f "$header" ] || missing="$missing
  Python.h  (Debian package python3-dev): the extensions are compiled against it"
    fi
    need "${CC:-gcc}" gcc "the extensions are compiled with it"
    ;;
test)
    need swaks swaks "tests send mail with it"
    need smtp-source postfix "tests send mail with it"
    need zstd zstd "tests read the logs back with it"
    need openssl openssl "tests speak TLS with it"
    perl -MNet::SSLeay -e 1 2>/dev/null || missing="$missing
  Net::SSLeay  (Debian package libnet-ssleay-perl): swaks speaks TLS with it"
    ;;
bench)
    need smtp-source postfix "the load of the comparison with other servers"
    need taskset util-linux "two clients of the comparison stay on a processor each"
    ;;
instructions)
    need valgrind valgrind "instructions are counted by its callgrind"
    need setarch util-linux "addresses must be the same in each run"
    ;;
soak)
    need zstd zstd "the soak reads the logs back with it"
    ;;
esac

if [ -n "$missing" ]; then
    echo "make $purpose cannot go on; missing here:$missing" >&2
    exit 1
fi
