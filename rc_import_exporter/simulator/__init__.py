"""A Rocket.Chat import API that plays a timeline, for the demo and for tests. Imports only `core.domain`.

A story is a function that tells a `Stage` what happens, step by step. The stage keeps the time:

```
def upload_and_give_up(stage: Stage) -> None:
    stage.create("csv")
    stage.load(users=20, messages=400, seconds=6)
    stage.wait(30)
    stage.clear()
    stage.wait(10)

server = SimulatedServer(Story(upload_and_give_up, repeat=True))
base_url = await server.start()
```

`script` defines requests and answers, `importer` how imports behave, `answers` how the API reports them, `faults` what
can go wrong with an answer, `scenario` how to write a story, and `stories` holds the stories. `recording` plays what a
real server answered. `server` puts all of it on a socket, and is the only module that uses asyncio.
"""
