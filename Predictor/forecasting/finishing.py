"""The second pass: from a model's raw forecasts to what is issued.

The first pass, ``Forecaster.raw``, is expensive and looks at one snapshot only: many origins may be forecast at once,
in any order. The second pass is cheap and remembers. It has to see the origins in order, since it learns from each
truth as it arrives how wide intervals have to be, how far totals run from the sum of their meters, and how errors of
one hour go on in the next.

    raw = {origin: forecaster.raw(history.snapshot(origin)) for origin in origins}      # in parallel
    finisher = Finisher(forecaster.macro)
    for origin in sorted(origins):
        issue = finisher.finish(history.snapshot(origin), raw[origin])                  # milliseconds
        issue.meters, issue.totals, issue.decisions(limits_kw)

The predictor runs the same two passes, one hour at a time, and keeps ``finisher.state`` in Redis; where it is lost, or
at the first hour, a fresh state starts from what the model's dump says. Origins may have any distance. Only readings
in the snapshot are looked at, each once, when it is first seen: late ones count when they come, missing ones never.
"""
