"""The page in Chromium: every control does what it says, by pointer and keyboard, on a phone, light and dark."""

import json
import os
import shutil
from datetime import datetime, timedelta

import pytest
import torch
from page_evidence import EVIDENCE

from unveil.checks import Fit
from unveil.config import parse_config
from unveil.data import save_image
from unveil.evaluation import Evaluation, Metrics
from unveil.instruments.instrument import ImageUnits
from unveil.random import make_generator
from unveil.report import write_report, write_results
from unveil.report.kept import keep_pictures
from unveil.runs import create_run

START = datetime(2026, 1, 1)
HEIGHT, WIDTH, SAMPLES, SPOT = 48, 64, 5, (40, 24)
"""SPOT: column and row around which samples differ most."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_BROWSER = "no Chromium here to open the page in: apt-get install chromium"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)


def a_result(name):
    """Measured black, the estimate white; samples grey, one darker than the other, that differ most in one block."""
    noise = torch.rand(SAMPLES, 1, HEIGHT, WIDTH, generator=make_generator("cpu", 1))
    level = torch.linspace(0.3, 0.7, SAMPLES)[:, None, None, None]
    samples = level + 0.01 * noise
    column, row = SPOT
    samples[:, :, row - 8 : row + 8, column - 8 : column + 8] += noise[..., :16, :16]
    y, x_hat = torch.zeros(1, HEIGHT, WIDTH), torch.ones(1, HEIGHT, WIDTH)
    x_hat[..., :2] = 0
    return Evaluation(Metrics(name, 30.0, 1.0, psnr_mmse=31.0), y, x_hat, samples, x_hat)


def a_page(folder, fit=None, warnings=(), evidence=None):
    save_image(folder / "data.npy", torch.rand(1, 40, 40))
    config = parse_config({"data": {"path": str(folder / "data.npy")}, "noise": {"sigma": 0.1}}, "test")
    with pytest.warns(match="the noise level found"):
        run = create_run(folder / "run", config)
    units = ImageUnits(0.0, 255.0, "numbers in the files", 0.25, "µm")
    results = [a_result("cells & more"), a_result("b")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unveil.report.results.comparison", lambda *_: b"")  # takes a second, and is not on the page
        write_results(run.folder, results, warnings, fit=fit, units_of=lambda name: units)
    if evidence is not None:
        record = json.loads((run.folder / "evaluation.json").read_text())
        (run.folder / "evaluation.json").write_text(json.dumps(record | {"evidence": evidence}))
    ends = {f"component_{k}_{end}": results[0].samples[i] for k in (1, 2) for i, end in ((0, "minus"), (-1, "plus"))}
    keep_pictures(run.folder / "images" / "b", {"estimate": results[0].x_hat, **ends}, units)
    lines = [{"step": i + 1, "loss": 1 / (i + 1), "psnr_estimate": 20.0 + i} for i in range(5)]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return write_report(run).as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return a_page(tmp_path_factory.mktemp("page"), Fit("fits"), evidence=EVIDENCE)


@pytest.fixture(scope="module")
def wrong_address(tmp_path_factory):
    fit = Fit("does not fit", "it grows with brightness")
    return a_page(tmp_path_factory.mktemp("wrong"), fit, ["levels differ"], EVIDENCE | {"not_valid": ["calibration"]})


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """(address, stopped, how) -> the page; nothing may be said on its console, or be asked of the network.

    stopped: time runs where a test says so.
    """
    contexts, said = [], []

    def open_page(at=address, stopped=False, **how):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or said.append(request.url))
        if stopped:
            page.clock.install(time=START)
        page.goto(at)
        if stopped:
            page.clock.pause_at(START + timedelta(hours=1))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def boxes(page):
    """Where the picture of each panel of the first viewer is, in shares of its panel: left, top, width."""
    return page.evaluate("""() => [...document.querySelector('.viewer').querySelectorAll('.view')].map(view => {
        const image = [...view.querySelectorAll('img')].find(i => !i.hidden).getBoundingClientRect();
        const box = view.getBoundingClientRect();
        return [(image.left - box.left) / box.width, (image.top - box.top) / box.height, image.width / box.width]
    })""")


def linked(page):
    """The same of all panels, which they share."""
    found = torch.tensor(boxes(page))
    torch.testing.assert_close(found, found[:1].expand_as(found), atol=1e-3, rtol=0)
    return found[0].tolist()


def brightness(locator):
    """Mean brightness of a picture's rows and columns, as the eye sees it."""
    import io

    import imageio.v3 as iio

    pixels = iio.imread(io.BytesIO(locator.screenshot()), extension=".png")[..., :3].astype(float).mean(2)
    return pixels


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_fits_its_window(opened, width):
    page = opened(viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".verdict").bounding_box()["y"] < 200, "the verdict is what is seen first"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    heights = "[...document.querySelectorAll('button, select')].map(b => b.getBoundingClientRect().height)"
    assert min(page.evaluate(heights)) >= 24, "large enough for a finger (WCAG 2.5.8)"


@pytest.mark.parametrize(
    ("which", "scheme"), [("wrong_address", "light"), ("wrong_address", "dark"), ("address", "dark")]
)
def test_nothing_that_axe_knows_is_in_the_way_of_anybody(opened, request, which, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(request.getfixturevalue(which), color_scheme=scheme, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = Axe().run(page)
    assert [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found.response["violations"]] == []


def test_zoom_and_pan_are_linked(opened):
    page = opened()
    assert linked(page) == pytest.approx([0, 0, 1], abs=1e-3)
    page.get_by_role("button", name="Zoom in").first.click()
    assert linked(page) == pytest.approx([-0.25, -0.25, 1.5], abs=1e-3), "about the middle"
    panels = page.locator(".panels").first
    panels.focus()
    page.keyboard.press("+")
    assert linked(page)[2] == pytest.approx(2.25, abs=1e-3)
    before = linked(page)
    page.keyboard.press("ArrowRight")
    assert linked(page) == pytest.approx([before[0] - 0.2, *before[1:]], abs=1e-3)
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    assert linked(page)[1] == pytest.approx(1 - 2.25, abs=1e-3), "no further than the edge"
    page.keyboard.press("0")
    assert linked(page) == pytest.approx([0, 0, 1], abs=1e-3)
    page.get_by_role("button", name="Zoom in").first.click()
    page.get_by_role("button", name="Zoom out").first.click()
    assert linked(page) == pytest.approx([0, 0, 1], abs=1e-3)


def test_the_pointer_zooms_and_moves(opened):
    page = opened()
    view = page.locator('[data-panel="estimate"] .view').first
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    page.mouse.dblclick(x, y)
    assert linked(page) == pytest.approx([-0.25, -0.5, 2], abs=0.01), "about the pointer"
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 8, y - box["height"] / 4, steps=3)
    page.mouse.up()
    assert linked(page) == pytest.approx([-0.125, -0.75, 2], abs=0.01)
    page.mouse.move(x, y)
    assert linked(page) == pytest.approx([-0.125, -0.75, 2], abs=0.01), "let go of"
    top = page.evaluate("scrollY")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("getComputedStyle(document.querySelector('.viewer')).getPropertyValue('--zoom') > 3")
    assert page.evaluate("scrollY") == top
    page.get_by_role("button", name="Show all").first.click()
    assert linked(page) == pytest.approx([0, 0, 1], abs=1e-3)


def test_two_fingers_zoom_and_one_scrolls_the_page(opened):
    page = opened(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    view = page.locator('[data-panel="estimate"] .view').first
    view.scroll_into_view_if_needed()
    box, session = view.bounding_box(), page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, *offsets):
        points = [{"x": x + dx, "y": y + dy, "id": k} for k, (dx, dy) in enumerate(offsets)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (-10, 0), (10, 0))
    for d in range(12, 26, 2):
        touch("touchMove", (-d, 0), (d, 0))
    touch("touchEnd")
    assert linked(page)[2] == pytest.approx(2.4, abs=0.05)
    assert page.evaluate("visualViewport.scale") == 1, "the page itself is not zoomed"
    page.get_by_role("button", name="Show all").first.click()
    view.scroll_into_view_if_needed()
    before, box = page.evaluate("scrollY"), view.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch("touchStart", (0, 0))
    for d in range(10, 150, 10):
        touch("touchMove", (0, -d))
    touch("touchEnd")
    page.wait_for_function("before => scrollY !== before", arg=before)
    assert linked(page) == pytest.approx([0, 0, 1], abs=1e-3)


def test_the_most_unsure_place_is_shown(opened):
    page = opened()
    page.get_by_role("button", name="Most unsure").first.click()
    left, top, zoom = linked(page)
    assert ((0.5 - left) / zoom * WIDTH, (0.5 - top) / zoom * HEIGHT) == pytest.approx(SPOT, abs=0.5)


def test_the_scale_is_true(opened):
    page = opened()
    for clicks in (0, 2):
        for _ in range(clicks):
            page.get_by_role("button", name="Zoom in").first.click()
        bar, view = page.locator(".scale").first, page.locator(".view").first
        length, unit = bar.text_content().split()
        pixels = bar.bounding_box()["width"] / (view.bounding_box()["width"] * linked(page)[2] / WIDTH)
        assert unit == "µm"
        assert float(length) == pytest.approx(0.25 * pixels, rel=0.01)


def test_the_slider_shows_each_sample(opened):
    page = opened()
    panel = page.locator(".frames").first
    slider, view = panel.locator("input"), panel.locator(".view")
    seen = []
    slider.focus()
    for k in range(SAMPLES):
        assert panel.locator("output").text_content() == slider.get_attribute("aria-valuetext")
        assert f"Sample {k + 1} of {SAMPLES}" == panel.locator("output").text_content()
        assert panel.locator("img:visible").count() == 1
        seen.append(brightness(view)[10:20, 10:20].mean())
        page.keyboard.press("ArrowRight")
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] > 60


def test_samples_play_until_paused(opened):
    page = opened(stopped=True)
    panel = page.locator(".frames").first
    button, name = panel.get_by_role("button"), panel.locator("output")
    page.clock.run_for(3000)
    assert name.text_content().startswith("Sample 1"), "nothing moves by itself"
    button.click()
    assert button.text_content() == "Pause"
    page.clock.run_for(1100)
    assert name.text_content().startswith("Sample 3")
    page.clock.run_for(500 * SAMPLES)
    assert name.text_content().startswith("Sample 3"), "round and round"
    button.click()
    page.clock.run_for(3000)
    assert (button.text_content(), name.text_content()[:8]) == ("Play", "Sample 3")


def test_nothing_moves_where_motion_is_not_wanted(opened):
    page = opened(stopped=True, reduced_motion="reduce")
    assert page.locator(".frames button:visible").count() == 0
    page.emulate_media(reduced_motion="no-preference")
    button = page.locator(".frames button").first
    button.click()
    page.emulate_media(reduced_motion="reduce")
    button.wait_for(state="hidden")  # the page has seen it
    shown = page.locator(".frames output").first.text_content()
    page.clock.run_for(3000)
    assert page.locator(".frames output").first.text_content() == shown, "stopped"
    page.locator(".frames input").first.fill("4")
    assert page.locator(".frames output").first.text_content().startswith("Sample 4"), "the slider does"
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_wipe_shows_one_picture_beside_the_other(opened):
    page = opened()
    wipe = page.locator(".wipe").first
    slider, view = wipe.locator("input"), wipe.locator(".view")
    for percent in (25, 75):
        slider.fill(str(percent))
        columns = brightness(view)[10:-40].mean(0)
        edge = len(columns) * percent // 100
        assert columns[: edge - 3].max() < 30, "measured: black"
        assert columns[edge + 8 :].min() > 225, "the estimate: white"
    slider.focus()
    page.keyboard.press("Home")
    assert brightness(view)[10:-40, 30:].mean() > 225, "by keyboard"
    wipe.locator("select[name=after]").select_option("samples")
    first = brightness(view)[10:20, 30:60].mean()
    page.locator(".frames input").first.fill(str(SAMPLES))
    assert brightness(view)[10:20, 30:60].mean() > first + 60, "it follows the slider over samples"


def test_colours_follow_the_system_or_the_reader(opened):
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    page = opened(color_scheme="light")
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    assert light != dark
    for name, colour in (("light", light), ("dark", dark), ("light dark", dark)):
        page.get_by_label("Colours").select_option(name)
        assert page.evaluate(paper) == colour


def test_downloads_hold_the_figures(opened):
    page = opened()
    with page.expect_download() as started:
        page.get_by_role("link", name="figures.csv").click()
    text = started.value.path().read_text()
    assert text.splitlines()[:2] == ["image,psnr_mmse,psnr_estimate,spread_over_error", "cells & more,31.0,30.0,1.0"]


def test_pictures_are_shown_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert page.locator('[data-panel="measured"] img').first.is_visible()
    assert page.locator(".frames img:visible").count() == page.locator(".frames:visible").count() > 1
