"""The smallest function that reads its event."""


def handler(event, context):
    return {"message": f"Hello, {event.get('name', 'World')}!"}
