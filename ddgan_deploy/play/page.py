"""The page itself, in Gradio."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gradio as gr
from fastapi import FastAPI

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.inputs import Knobs
from ddgan_deploy.play import commands, controls, pictures
from ddgan_deploy.play.files import Shelf, files_of
from ddgan_deploy.play.seeds import most_images, one_seed, page_seeds, walk_steps
from ddgan_deploy.play.source import Source, drawn
from ddgan_deploy.play.way import between_seeds, way_of, why_not
from ddgan_deploy.sampler import SMALL_IMAGE, Knob

C = TypeVar("C", bound=gr.components.Component)
FILES = "files"
"""Where the page finds what can be saved."""
_LIMIT = "20mb"
"""Of a picture that is uploaded."""
_COMMAND = "The same by a command"


def check_version(least: int) -> None:
    """Raises ImportError where Gradio is of before a major version."""
    if int(gr.__version__.partition(".")[0]) < least:
        raise ImportError(f"{gr.__version__} is installed")


def mount(app: FastAPI, source: Source, shelf: Shelf) -> None:
    """Puts the page at the root of an application, which serves `FILES` itself."""
    # Nothing of the theme, whose own fonts are not of this machine, is fetched from elsewhere.
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="indigo", font=fonts, font_mono=["ui-monospace", "monospace"])
    # Darker than they are, to be read by everyone (WCAG 2.2, 1.4.3).
    theme.set(block_info_text_color="*neutral_600", button_primary_background_fill="*primary_600")
    gr.mount_gradio_app(
        app,
        _blocks(source, shelf),
        "",
        theme=theme,
        css=pictures.STYLE,
        footer_links=[],
        max_file_size=_LIMIT,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )


def _blocks(source: Source, shelf: Shelf) -> gr.Blocks:
    blocks = gr.Blocks(title=f"{source.title} - ddgan-play", analytics_enabled=False)
    turns = _Turns(source.is_quick)
    with blocks:
        gr.HTML(pictures.heading(source.title, f"Drawn by {source.name}, {source.size[1]}x{source.size[0]} pixels."))
        knobs = _Knobs(source.knobs)
        with gr.Tab("Images"):
            _images(blocks, source, shelf, knobs, turns)
        with gr.Tab("Step by step"):
            _steps(source, knobs, turns)
        with gr.Tab("Between two seeds"):
            _between(source, knobs, turns)
    return blocks


class _Knobs:
    """The controls of all knobs, for all tabs."""

    def __init__(self, known: Sequence[Knob]) -> None:
        self._known = known
        with gr.Row():
            self.controls = [_picture(knob) if knob.is_image else _number(knob) for knob in known]

    def given(self, values: Sequence[Any]) -> Knobs:
        """What the controls say, but for what is at its default.

        Raises:
            InputError: a picture is not there, or cannot be read.
        """
        both = zip(self._known, values, strict=True)
        told = {knob.name: controls.as_picture(knob, value) if knob.is_image else value for knob, value in both}
        return commands.given(self._known, told)

    @property
    def all_given(self) -> bool:
        """Whether something can be drawn before anyone has chosen a picture."""
        return all(knob.default is not None for knob in self._known)


def _number(knob: Knob) -> gr.Slider | gr.Number:
    least, most, step, value, is_slider, info = controls.control(knob)
    kind = gr.Slider if is_slider else gr.Number
    name = f"knob-{knob.name}"
    return _unchecked(
        kind(minimum=least, maximum=most, step=step, value=value, label=knob.name, info=info, elem_id=name)
    )


def _picture(knob: Knob) -> gr.Image:
    label, name = controls.picture_info(knob), f"knob-{knob.name}"
    image = gr.Image(label=label, type="filepath", sources=["upload", "clipboard"], height=220, elem_id=name)
    return _unchecked(image, lambda file: file and file.path)


def _unchecked(component: C, taken: Callable[[Any], Any] = lambda value: value) -> C:
    """A component whose value is taken as the browser sends it: where Gradio refuses one, a traceback tells why."""
    component.preprocess = taken  # type: ignore[method-assign, assignment]
    return component


def _images(blocks: gr.Blocks, source: Source, shelf: Shelf, knobs: _Knobs, turns: _Turns) -> None:
    most = most_images(source.size)
    with gr.Row():
        first = "0-15" if max(source.size) <= SMALL_IMAGE else "0-3"
        seeds = gr.Textbox(
            first, label="Seeds", info=f"such as 0-15 or 3,7,20-23; {most} at most", elem_id="seeds", scale=4
        )
        button = gr.Button("Draw", variant="primary", elem_id="draw")
    told, shown, saved = gr.HTML(elem_id="told"), gr.HTML(elem_id="images"), gr.HTML(elem_id="files")
    command = gr.HTML(elem_id="command")
    if source.serve:
        gr.HTML(pictures.shell("A server for the next line", source.serve), elem_id="serve")
    curl = gr.HTML(elem_id="curl")

    def draw(text: str, *values: Any) -> list[Any]:
        given = knobs.given(values)
        drawing = drawn(source, page_seeds(text, source.size), given)
        requests = commands.requests(source.knobs, source.request_batch, drawing.seeds, given)
        bodies = dict(zip(commands.body_names(len(requests)), requests, strict=True))
        in_files = any(knob.is_image for knob in source.knobs)
        files = files_of(drawing, bodies if in_files else {})
        return [
            pictures.line(drawing.told(source.name)),
            pictures.figures(drawing.images, [f"seed {seed}" for seed in drawing.seeds]),
            pictures.links(f"{FILES}/{shelf.put(files)}", list(files)),
            pictures.shell(_COMMAND, commands.sample_command(source.arguments, drawing.seeds, given)),
            pictures.shell("The same from a server, as JSON", _curl(source, bodies, in_files)),
        ]

    inputs, outputs = [seeds, *knobs.controls], [told, shown, saved, command, curl]
    unasked = [control.change for control in knobs.controls] if source.is_quick else []
    if source.is_quick and knobs.all_given:
        unasked.append(blocks.load)
    turns.on([button.click, seeds.submit, *unasked], draw, inputs, outputs)


def _steps(source: Source, knobs: _Knobs, turns: _Turns) -> None:
    if reason := why_not(source.engine):
        gr.Markdown(reason)
        return
    engine = source.engine
    assert engine is not None
    with gr.Row():
        seed = gr.Textbox("0", label="Seed", elem_id="way-seed", scale=4)
        button = gr.Button("Show", variant="primary", elem_id="way")
    told = gr.HTML(elem_id="way-told")
    gr.Markdown("## What each step starts from")
    states = gr.HTML(elem_id="way-states")
    gr.Markdown("## The image as the steps see it")
    seen = gr.HTML(elem_id="way-seen")

    def show(text: str, *values: Any) -> list[Any]:
        number, given = one_seed(text), knobs.given(values)
        way = way_of(engine, number, given, most_images(source.size))
        left_out = f", {len(way.states)} of them shown" if len(way.states) < way.steps else ""
        with_knobs = "".join(f", {each}" for each in commands.named(given))
        told = f"seed {number}{with_knobs}: {way.steps} steps{left_out}; beyond -1 and 1 values are black and white"
        both = [pictures.figures([each.pixels for each in row], [each.name for each in row]) for row in way[:2]]
        return [pictures.line(told), *both]

    turns.on([button.click, seed.submit], show, [seed, *knobs.controls], [told, states, seen])


def _between(source: Source, knobs: _Knobs, turns: _Turns) -> None:
    engine = source.engine
    if engine is None:
        gr.Markdown("A server takes seeds, and nothing between them: open the artifact itself with ddgan-play DIR.")
        return
    most = min(16, most_images(source.size) - 1)
    if most < 2:
        gr.Markdown("Images of this size have no room here: draw them with ddgan-sample --interpolate.")
        return
    with gr.Row():
        first = gr.Textbox("0", label="From seed", elem_id="first", min_width=80)
        second = gr.Textbox("1", label="To seed", elem_id="second", min_width=80)
        steps = _unchecked(gr.Slider(2, most, min(8, most), step=1, label="Steps", elem_id="walk-steps", min_width=240))
        button = gr.Button("Go", variant="primary", elem_id="walk")
    told, shown = gr.HTML(elem_id="walk-told"), gr.HTML(elem_id="walk-images")
    command = gr.HTML(elem_id="walk-command")

    def walk(one: str, other: str, asked: float | None, *values: Any) -> list[Any]:
        ends, given, count = (one_seed(one), one_seed(other)), knobs.given(values), walk_steps(asked, most)
        images = between_seeds(engine, *ends, count, given)
        names = [f"seed {ends[0]}", *(f"{step} of {count} steps" for step in range(1, count)), f"seed {ends[1]}"]
        arguments = (source.arguments, ends, given, f"--interpolate {count}")
        return [
            pictures.line(f"{len(images)} images from seed {ends[0]} to seed {ends[1]}"),
            pictures.figures(images, names),
            pictures.shell(_COMMAND, commands.sample_command(*arguments)),
        ]

    inputs = [first, second, steps, *knobs.controls]
    events = [button.click, first.submit, second.submit]
    turns.on(events, walk, inputs, [told, shown, command])


def _curl(source: Source, bodies: dict[str, str], in_files: bool) -> str:
    if source.http_url is None:
        return f"{source.title} speaks gRPC: open the page with --url and its address of HTTP for a line of curl"
    return commands.curl_lines(source.http_url, bodies, in_files)


class _Turns:
    """Has events do work, one at a time in all pages: each would have its time measured beside the others'.

    Args:
        quick: whether the work takes a moment.
    """

    def __init__(self, quick: bool) -> None:
        self._lock = threading.Lock()
        # Who moves a slider wants to see where it stopped, not all that lies between. But when an event that waited is
        # sent, Gradio's queue is just closing its connection, and so the answer may get lost and the page waits for
        # ever: without the queue. A browser may not wait for minutes on a connection that says nothing: with it.
        self._how = {"trigger_mode": "always_last", "queue": False} if quick else {"trigger_mode": "once"}

    def on(self, events: list[Any], work: Callable[..., list[Any]], inputs: list[Any], outputs: list[Any]) -> None:
        """What cannot be done is told in the first of the outputs, and the others stay as they are."""

        @functools.wraps(work)
        def done(*values: Any) -> list[Any]:
            try:
                with self._lock:
                    return work(*values)
            except (InputError, GateError) as error:
                return [pictures.problem(error), *[gr.skip()] * (len(outputs) - 1)]

        gr.on(events, done, inputs, outputs, api_visibility="private", **self._how)
