"""A Rocket.Chat import API that plays a timeline: for the demo and for tests. The exporter never imports it.

A story is a function that tells a `Stage` what happens, line by line; the stage keeps the time:

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

`script` says what an answer is, `importer` how imports behave, `answers` how the API tells them, `faults` what goes
wrong on the wire, `scenario` how a story is told, `stories` which stories there are, `recording` plays what a real
server answered, and `server` puts all of it on a socket. Only `server` knows about asyncio.
"""
