"""Open a page in a headless browser, and print what happens as JSON: ``python browser.py PAGE SCREENSHOT [SCRIPT]``.

It runs in a process of its own, so that a browser can't disturb other tests. The answer holds the addresses that were
asked for, what the console said, and the value of the script.
"""

import json
import os
import sys
from pathlib import Path

# No window is needed, and a test machine may run as root, where Chromium's sandbox doesn't work.
os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QTWEBENGINE_DISABLE_SANDBOX"] = "1"

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
from qtpy.QtWebEngineWidgets import QWebEngineView
from qtpy.QtWidgets import QApplication

SIZE = (1280, 1000)
PATIENCE = 60_000


class Requests(QWebEngineUrlRequestInterceptor):
    """Writes down every address that the page asks for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def interceptRequest(self, info):  # noqa: N802
        self.seen.append(info.requestUrl().toString()[:200])


class Page(QWebEnginePage):
    """Writes down what the console says."""

    said = ()

    def javaScriptConsoleMessage(self, level, message, line, source):  # noqa: N802
        self.said = (*self.said, f"{level} {message} ({source[:80]}:{line})")


def look(path, screenshot, script):
    """Load a page, run a script in it, photograph it."""
    application = QApplication(["browser"])
    profile, requests, view = QWebEngineProfile(), Requests(), QWebEngineView()
    profile.setUrlRequestInterceptor(requests)
    page = Page(profile)
    view.setPage(page)
    view.resize(*SIZE)
    view.show()
    answer = {"loaded": None, "value": None}

    def finish():
        view.grab().save(screenshot)
        application.quit()

    def keep(value):
        answer["value"] = json.loads(value)
        QTimer.singleShot(500, finish)

    def loaded(fine):
        answer["loaded"] = fine
        # Only texts come through the same way with every binding of Qt.
        page.runJavaScript(f"JSON.stringify({script})", keep)

    page.loadFinished.connect(loaded)
    page.load(QUrl.fromLocalFile(str(Path(path).resolve())))
    QTimer.singleShot(PATIENCE, application.quit)
    application.exec()
    view.setPage(None)
    return {**answer, "requests": requests.seen, "console": list(page.said)}


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "null")))
    sys.stdout.flush()
    # A browser takes long to leave, and has nothing more to say.
    os._exit(0)
