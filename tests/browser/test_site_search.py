"""The documentation site from disk: its search is a worker, which docs/site/worker_from_disk.js runs in a frame."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from conftest import until

SCRIPT = Path(__file__).parents[2] / "docs" / "site" / "worker_from_disk.js"
PAGE = """<!doctype html><title>page</title><body><script src="worker_from_disk.js"></script><script>
window.answers = []
window.failed = []
const worker = new Worker("twice.js")
worker.onmessage = (event) => answers.push(event.data)
window.question = { type: 0, data: 3 }
worker.postMessage(question)
const absent = new Worker("absent.js")
absent.onerror = () => failed.push("absent.js")
</script>"""
WORKER = """
const answer = { type: 1 }
self.addEventListener("message", (event) => {
  event.data.type = "changed"
  answer.data = 2 * event.data.data
  self.postMessage(answer)
})
"""


def test_a_worker_answers_and_a_missing_one_says_so(browser: Any, tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "twice.js").write_text(WORKER)
    window = browser.new_page()
    window.goto((tmp_path / "page.html").as_uri())
    until(window, "answers.length && failed.length")
    assert window.evaluate("answers") == [{"type": 1, "data": 6}]
    assert window.evaluate("failed") == ["absent.js"]
    window.evaluate("worker.postMessage({ type: 0, data: 5 })")
    until(window, "answers.length > 1")
    window.evaluate("worker.terminate()")
    assert window.evaluate("answers.map((answer) => answer.data)") == [6, 10], "what is sent is a copy"
    assert window.evaluate("question.type") == 0
    assert window.locator("iframe").count() == 1
    window.close()
