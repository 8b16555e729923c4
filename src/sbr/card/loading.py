"""How a checkpoint is loaded, in the words of its card: code for transformers, commands for vLLM."""

from __future__ import annotations

import re

from sbr.config.inputs import FramesConfig
from sbr.prompt.template import question_text
from sbr.types import Sample

EXAMPLE = Sample(
    *("0", "L1", "Daily life", None, "EpicKitchens", "P01_13", None, None, "make tea"),
    "Considering the progress shown in the video and my current observation in the last frame, what action should I "
    "take next in order to make tea?",
    ("open tap", "close tap", "take cup", "put cup on table"),
    "A",
)

_CODE = '''\
import av
import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, resize
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

folder = "."  # this folder, or its name on the hub
clip, image = "clip.mp4", "now.png"
question = """{question}"""

processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto", device_map="auto").eval()


def frames_of(file):
    with av.open(file) as container:
        yield from (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


# The frames of training: {fps:g} a second, {min_frames} to {max_frames}, spread evenly over the clip.
unit = processor.image_processor.patch_size * processor.image_processor.merge_size
size = [max(unit, round(side / unit) * unit) for side in ({height}, {width})]
with av.open(clip) as container:
    rate = float(container.streams.video[0].average_rate)
total = sum(1 for _ in frames_of(clip))
count = int(min(max(total / rate * {fps}, {min_frames}), {max_frames}, total)) // 2 * 2
taken = np.linspace(0, total - 1, count).round().astype(int).tolist()
frames = np.stack([frame for number, frame in enumerate(frames_of(clip)) if number in set(taken)])
video = resize(torch.from_numpy(frames).movedim(-1, 1), size, InterpolationMode.BICUBIC, antialias=True)
picture = Image.open(image).convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC)

content = [{{"type": "video"}}, {{"type": "image"}}, {{"type": "text", "text": question}}]
inputs = processor(
    text=processor.apply_chat_template([{{"role": "user", "content": content}}], add_generation_prompt=True),
    images=[picture],
    videos=[video],
    images_kwargs={{"do_resize": False}},
    videos_kwargs={{
        "do_resize": False,
        "do_sample_frames": False,
        "video_metadata": [VideoMetadata(total_num_frames=total, fps=rate, frames_indices=taken)],
    }},
    return_tensors="pt",
).to(model.device, model.dtype)
output = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False)
answer = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
print(answer)
'''


def transformers_code(frames: FramesConfig, tokens: int) -> str:
    """A program that answers a question with the frames of `frames`; it needs transformers, accelerate, av and
    torchvision, of an adapter also peft."""
    return _CODE.format(**frames.model_dump(), tokens=tokens, question=question_text(EXAMPLE))


def code_in(body: str) -> str | None:
    """The program in a block "loading"; None when people have taken it out."""
    found = re.search(r"^```python\n(.*?)^```", body, re.DOTALL | re.MULTILINE)
    return found[1] if found else None


def loading_text(code: str, adapter: bool) -> str:
    """The block "loading" of a card; `code` is of `transformers_code`."""
    whole = (
        'vllm serve . --generation-config vllm --limit-mm-per-prompt \'{"video": 1, "image": 1}\'\n'
        "sbr eval --engine vllm --model . --data DATA --out RESULTS"
    )
    vllm = (
        f"sbr merge . merged    # vLLM takes the adapter and its base as one folder\ncd merged\n{whole}"
        if adapter
        else whole
    )
    loads = "transformers loads the adapter and, by the name in adapter_config.json, its base (peft is needed)."
    return "\n".join(
        [
            "## Use",
            "",
            "With transformers, on the frames and in the words of training" + (f"; {loads}" if adapter else "."),
            "",
            "```python",
            code.rstrip(),
            "```",
            "",
            "With vLLM, where it is installed:",
            "",
            "```",
            vllm,
            "```",
            "",
            "vLLM takes frames and sizes from its own settings unless it is asked through `sbr eval`.",
        ]
    )
