"""What a server allows, and its defaults. Imports nothing heavy."""

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Settings:
    """Limits and switches of a server.

    Attributes:
        name: what clients call the model.
        keys: API keys; empty: everybody may ask. requests_per_minute: of one key, or of one address where there are no keys.
        max_body: bytes of a request's body. max_buffered: bytes of all bodies that are held at once.
        max_parts: parts of a chat message, or inputs of one embeddings request. max_choices: answers to one request.
        max_tokens: tokens of one request's input. max_new_tokens: the most that a request may ask for. max_beams: likewise.
        queue_requests, queue_tokens: what may wait at once, tokens counted as the model counts them.
        batch_requests, batch_tokens: what is predicted at once. batch_wait: seconds that an idle model waits for company.
        streams: answers that are streamed at once; further ones wait.
        seconds: until a request is given up; a client may ask for less. body_seconds: for its body to arrive.
            drain_seconds: for requests to end once the server is told to stop.
        url_hosts: hosts whose URLs are fetched; empty: none. url_mebibytes, url_seconds: of one URL.
        url_private: whether such a host may have a private address; for tests.
        feature_cache: bytes of memory for the features of pictures, sounds … that were seen before; 0: none.
        origins: web pages that may ask (CORS). hosts: names that the server answers to; empty: any.
        log_details: write messages of errors into the log, which may hold what clients sent.
    """

    name: str = "model"
    keys: tuple[str, ...] = ()
    requests_per_minute: int = 0
    max_body: int = 32 * MEBIBYTE
    max_buffered: int = 256 * MEBIBYTE
    max_parts: int = 64
    max_choices: int = 8
    max_tokens: int = 8192
    max_new_tokens: int = 2048
    max_beams: int = 8
    queue_requests: int = 256
    queue_tokens: int = 262_144
    batch_requests: int = 64
    batch_tokens: int = 32_768
    batch_wait: float = 0.004
    streams: int = 16
    seconds: float = 60.0
    body_seconds: float = 30.0
    drain_seconds: float = 30.0
    url_hosts: tuple[str, ...] = ()
    url_mebibytes: float = 16.0
    url_seconds: float = 10.0
    url_private: bool = False
    feature_cache: int = 0
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    log_details: bool = False
