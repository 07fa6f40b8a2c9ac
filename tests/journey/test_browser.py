"""JupyterLab in a real browser: lab 00 runs, a slider moves its figure."""

import os
import shutil
import time
from urllib.parse import urlsplit

import pytest
from house import ROOT
from journey.places import served


FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SECOND = 1000  # milliseconds, playwright's unit
ERRORS = '[data-mime-type="application/vnd.jupyter.error"]'
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.innerText)"


def await_kernel(page, address: str) -> None:
    """Wait until the page is connected to an idle kernel: cells run earlier are only cleared."""
    server = urlsplit(address)
    sessions = server._replace(path="/api/sessions").geturl()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        kernels = [session["kernel"] for session in page.request.get(sessions).json()]
        if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
            page.locator('[data-status="idle"]').first.wait_for(timeout=60 * SECOND)
            return
        page.wait_for_timeout(200)
    raise AssertionError("no kernel was connected and idle within 120 s")


def run_all(page) -> None:
    """Run all cells and wait until the last one is done."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        f"{PROMPTS}.some(text => text.includes('*'))", timeout=60 * SECOND, polling=100
    )
    page.wait_for_function(
        f"{PROMPTS}.every(text => /\\d/.test(text)) || document.querySelector('{ERRORS}')",
        timeout=300 * SECOND,
        polling=500,
    )


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no chromium on the PATH and none named by CHROMIUM")
def test_lab_00_in_a_browser(newcomer):
    from playwright.sync_api import sync_playwright

    root, environment = newcomer
    picture = ROOT / "build" / "artifacts" / "browser.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    with served(root, environment) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        try:
            page.goto(server.address)
            await_kernel(page, server.address)
            run_all(page)
            errors = page.locator(ERRORS).all_inner_texts()
            assert errors == [], errors[0]

            figure = page.locator(".jp-OutputArea .widget-output img, .jupyter-widgets img").first
            handle = page.locator(".widget-slider .noUi-handle, .slider .noUi-handle").first
            handle.scroll_into_view_if_needed()
            before = figure.get_attribute("src")
            handle.focus()
            handle.press("ArrowRight")
            page.wait_for_function(
                "([image, old]) => document.contains(image) ? image.src !== old : true",
                arg=[figure.element_handle(), before],
                timeout=60 * SECOND,
            )
            figure.wait_for(timeout=30 * SECOND)
            assert figure.get_attribute("src") != before

            images = page.locator(".jp-OutputArea img")
            texts = [image.get_attribute("alt") for image in images.all()]
            assert len(texts) >= 2 and all(text and text.strip() for text in texts), texts
            assert page.locator(ERRORS).count() == 0
        finally:
            page.screenshot(path=picture)
            browser.close()
    assert picture.stat().st_size > 10_000
