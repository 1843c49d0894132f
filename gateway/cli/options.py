"""The policy options, shared by `tenant create` and `tenant update`. Their rules are the policy's own."""

from typing import Annotated, Any

import typer

Number = str | None

RequestsPerMinute = Annotated[Number, typer.Option(help="Requests a minute; '' for no limit.", metavar="N")]
ImagesPerMinute = Annotated[Number, typer.Option(help="Images a minute; '' for no limit.", metavar="N")]
Burst = Annotated[Number, typer.Option(help="How many of a minute's may come at once; all, if not given.", metavar="N")]
Concurrency = Annotated[Number, typer.Option(help="Generations at once; '' for no limit.", metavar="N")]
BudgetDay = Annotated[Number, typer.Option(help="Yuan a day; '' for no limit.", metavar="YUAN")]
BudgetMonth = Annotated[Number, typer.Option(help="Yuan a month; '' for no limit.", metavar="YUAN")]
BudgetTotal = Annotated[Number, typer.Option(help="Yuan in all; '' for no limit.", metavar="YUAN")]
Models = Annotated[str | None, typer.Option(help="Models that may be used, comma-separated; '' for all.")]
ImageFormat = Annotated[str | None, typer.Option(help="How images are given: url, base64, upstream.")]
Cache = Annotated[str | None, typer.Option(help="Answer from earlier replies: seeded, all, off.")]
CacheTtl = Annotated[Number, typer.Option(help="Seconds a reply is stored; a day if not given.", metavar="SECONDS")]
KeepPrompts = Annotated[str | None, typer.Option(help="Keep prompts in the ledger: yes, no.")]
LinkTtl = Annotated[Number, typer.Option(help="Seconds a link works; 7 days if not given.", metavar="SECONDS")]
MaxBodyMb = Annotated[Number, typer.Option(help="Largest request body; 224 MB if not given.", metavar="MB")]
Shadow = Annotated[str | None, typer.Option(help="Count rates and concurrency without refusing: yes, no.")]


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given: one that was not stays as it is."""
    return {name: value for name, value in options.items() if value is not None}
