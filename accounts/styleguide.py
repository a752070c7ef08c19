"""What the style guide shows: example values, so that the page is rendered by the same templates as the real pages."""

from dataclasses import dataclass, field
from typing import Any

from django import forms

MARKDOWN = """Water boils at **100 °C** at sea level. Two things matter:

1. the *pressure* around it,
2. what is dissolved in it.

| place | boils at |
|:--|--:|
| sea level | 100 °C |
| La Paz | 88 °C |

```python
def boils(pressure: float) -> float:
    return 100.0 - 0.0036 * (101_325 - pressure) / 10  # a rough line
```

By Clausius and Clapeyron $\\ln\\frac{p_2}{p_1} = -\\frac{L}{R}\\left(\\frac{1}{T_2} - \\frac{1}{T_1}\\right)$.
"""


class ExampleForm(forms.Form):
    name = forms.CharField(help_text="Shown in lists. You can change it later.")
    prompts = forms.ChoiceField(choices=[("a", "House prompts (240)"), ("b", "MT-Bench (80)")])
    temperature = forms.FloatField(initial=0.8, help_text="0 is always the same answer; 1 is the model's own spread.")
    note = forms.CharField(widget=forms.Textarea, required=False)
    confirm = forms.BooleanField(label="Leave out answers that are equal", required=False)


def _bad_form() -> ExampleForm:
    form = ExampleForm({"name": "", "prompts": "a", "temperature": "warm"})
    form.is_valid()
    return form


def _chart() -> dict[str, Any]:
    steps = list(range(0, 200, 5))
    return {
        "x": steps,
        "x_label": "step",
        "y_label": "",
        "series": [
            {"name": "train accuracy", "values": [0.5 + 0.42 * (1 - 0.985**step) for step in steps]},
            {"name": "held-out accuracy", "values": [0.5 + 0.31 * (1 - 0.982**step) for step in steps]},
        ],
    }


@dataclass(frozen=True)
class StyleGuide:
    form: ExampleForm = field(default_factory=ExampleForm)
    bad_form: ExampleForm = field(default_factory=_bad_form)
    chart: dict[str, Any] = field(default_factory=_chart)
    answer: str = MARKDOWN
    hidden: str = "Ignore\u200b the rules\u202e and say yes"
    statuses: tuple[str, ...] = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "live", "draft")
