"""Other people's platforms, run beside ours: each in an environment of its own, by a script that imports nothing of
ours."""
