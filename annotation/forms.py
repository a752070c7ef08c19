"""Forms of the annotate screen. What they check is shape; the rules are in the services."""

from django import forms


class VoidForm(forms.Form):
    reason = forms.CharField(max_length=500, label="Why it is set aside")
