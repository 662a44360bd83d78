"""The gateway's doors: thin routes that read a request, call one verb, and answer."""
