#!/bin/sh
# Makes sure that the browser tests have a Chromium: the system's, Debian's package, or Playwright's.
# Without one they skip; where CI is set that is an error.
set -u

[ -z "${CANFUSION_CHROMIUM:-}" ] || exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium from Debian's packages"
    export DEBIAN_FRONTEND=noninteractive
    for attempt in with-old-lists with-new-lists; do
        apt-get install -qq -y --no-install-recommends chromium >/dev/null 2>&1 &&
            command -v chromium >/dev/null && exit 0
        [ "$attempt" = with-new-lists ] || apt-get update -qq >/dev/null 2>&1
    done
fi

echo "installing Playwright's chromium"
"${BIN:-.venv/bin}/playwright" install chromium >/dev/null 2>&1 && exit 0

if [ -n "${CI:-}" ]; then
    echo "no Chromium: CI needs one for the browser tests" >&2
    exit 1
fi
echo "no Chromium found or installed: the browser tests will skip" >&2
