"""The client of the hosted Pi API: what it asks, how long it waits, and what it never tells."""

import base64
import contextlib
import socket
import ssl
import subprocess
import threading
import time
import traceback
from pathlib import Path

import pytest

from plugins.module_utils.mythic_beasts import (
    Account,
    ApiError,
    Client,
    NotAuthorised,
    NotFound,
    NotReady,
    OutOfStock,
    ProvisioningFailed,
    Refused,
    Server,
    Specification,
    Summary,
    Unreachable,
)
from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY, OTHER_KEY, account, client, later

PI4 = Specification(model=4, memory=8192, disk=20, os_image="rpi-bookworm-arm64")


def ordered(api: FakeApi, name: str = "wheels-01") -> Client:
    """A client whose Pi is live."""
    asking = client(api)
    place = asking.order(name, PI4, [KEY])
    assert place
    while asking.progress(place) is not None:
        time.sleep(0.01)
    return asking


def test_an_order_is_what_was_asked_for(api: FakeApi) -> None:
    asking = ordered(api)
    pi = asking.find("wheels-01")
    assert pi is not None and pi.ready
    assert (pi.model, pi.memory, pi.cpu_speed, pi.disk) == (4, 8192, 1500, 20)
    assert (pi.ip, pi.ip_routed, pi.ssh_port) == ("2a00:1098:8:1::1", "2a00:1098:8:100::/56", 5001)
    assert (pi.host, pi.ipv4_host) == ("wheels-01.hostedpi.com", "ssh.wheels-01.hostedpi.com")
    assert api.pis["wheels-01"].os_image == "rpi-bookworm-arm64"
    assert asking.servers() == {"wheels-01": Summary(4, 8192, 1500)}
    assert asking.keys("wheels-01") == (KEY,)


def test_a_list_is_one_request(api: FakeApi) -> None:
    asking = client(api)
    for number in range(5):
        asking.order(f"wheels-{number}", Specification())
    api.requests.clear()
    assert len(asking.servers()) == 5
    assert len(api.requests) == 1


def test_what_exists_is_found_whatever_its_state(api: FakeApi) -> None:
    api.account.seconds = 60
    asking = client(api)
    assert asking.find("wheels-01") is None
    asking.order("wheels-01", PI4)
    assert asking.find("wheels-01") == Server("wheels-01", "provisioning")


def test_a_pi_that_is_listed_is_not_taken_for_gone(api: FakeApi) -> None:
    """403 is what a Pi gets that does not exist, and one that the key may not look at."""
    api.faults.answers["/servers"] = {"servers": {"wheels-01": {"model": 3, "memory": 1024, "cpu_speed": 1200}}}
    assert client(api).find("wheels-01") == Server("wheels-01", "provisioning")


def test_keys_power_reboot_and_end(api: FakeApi) -> None:
    asking = ordered(api)
    asking.replace_keys("wheels-01", [OTHER_KEY, KEY])
    assert api.pis["wheels-01"].keys == f"{OTHER_KEY}\r\n{KEY}"
    asking.power("wheels-01", False)
    assert not api.pis["wheels-01"].power
    api.account.seconds = 99
    asking.power("wheels-01", True)
    with pytest.raises(NotReady):
        asking.reboot("wheels-01")
    api.pis["wheels-01"].boots_until = 0
    asking.reboot("wheels-01")
    assert api.pis["wheels-01"].boots == 2
    asking.cancel("wheels-01")
    assert asking.find("wheels-01") is None
    with pytest.raises(NotFound):
        asking.cancel("wheels-01")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_each_way_to_say_that_it_is_cancelled(api: FakeApi, status: int) -> None:
    asking = ordered(api)
    api.faults.delete_status = status
    asking.cancel("wheels-01")


def test_the_lifetime_of_a_token_slides(api: FakeApi) -> None:
    api.token_seconds = 2
    asking = client(api)
    for _ in range(4):
        asking.servers()
        time.sleep(0.6)
    assert api.logins == 1


def test_an_idle_token_is_renewed_before_it_is_refused(api: FakeApi) -> None:
    api.token_seconds = 1
    asking = client(api)
    asking.servers()
    time.sleep(0.8)
    api.requests.clear()
    asking.servers()
    assert [path for _, path in api.requests] == ["/login", "/beta/pi/servers"]


def test_a_token_that_the_api_forgot_is_renewed_and_the_request_done_once(api: FakeApi) -> None:
    asking = client(api)
    asking.servers()
    api.expire_tokens()
    asking.order("wheels-01", PI4)
    assert list(api.pis) == ["wheels-01"]
    assert api.logins == 2


def test_a_token_that_never_holds_is_said_so(api: FakeApi) -> None:
    api.token_seconds = -1  # Of the fake; the client is told 300.
    api.faults.answers["/login"] = {"access_token": "of-another-address", "expires_in": 300}
    with pytest.raises(NotAuthorised, match="one address"):
        client(api).servers()
    assert len(api.requests) == 4


def test_a_wrong_key_is_told_with_what_to_do_and_without_the_secret(api: FakeApi) -> None:
    with pytest.raises(NotAuthorised, match=r"Invalid client credentials.*HOSTEDPI_ID") as caught:
        Client(account(api, secret=api.secret[::-1])).servers()
    assert api.secret[::-1] not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "instead",
    [
        {"key_id": ""},
        {"secret": ""},
        {"key_id": "a:b"},
        {"secret": "two\nlines"},
        {"api_url": "file:///etc/"},
        {"auth_url": "nowhere"},
    ],
)
def test_what_is_no_account_is_refused_before_anything_is_asked(api: FakeApi, instead: dict[str, str]) -> None:
    with pytest.raises(ApiError, match="HOSTEDPI_"):
        account(api, **instead)


def test_an_account_does_not_show_its_secret() -> None:
    assert "hidden" not in repr(Account("a-key", "hidden"))


@pytest.mark.parametrize("echoed", ["login", "request"])
def test_an_api_that_repeats_our_secrets_does_not_get_them_into_an_error(api: FakeApi, echoed: str) -> None:
    asking = client(api)
    if echoed == "request":
        asking.servers()
    api.faults.echo = 9
    with pytest.raises(ApiError, match=r"I do not like (Basic|Bearer) \*\*\*") as caught:
        asking.servers()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    secrets = [api.secret, *api._tokens]
    assert not any(secret in told for secret in secrets)


def test_a_server_that_speaks_no_http_does_not_get_them_into_an_error_either(api: FakeApi) -> None:
    """Python's own error holds what it took for a status."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=repeat_authorization, args=(server,), daemon=True).start()
        asking = Client(account(api, auth_url=f"http://127.0.0.1:{server.getsockname()[1]}/"), patience=0)
        with pytest.raises(Unreachable, match=r"Authorization: Basic \*\*\*") as caught:
            asking.servers()
    told = "".join(traceback.format_exception(caught.value))
    assert base64.b64encode(f"{api.key_id}:{api.secret}".encode()).decode() not in told


def repeat_authorization(server: socket.socket) -> None:
    """Answer one request with that line of it alone."""
    connection, _ = server.accept()
    with connection:
        asked = connection.recv(2**16).decode().splitlines()
        connection.sendall(next(line for line in asked if line.startswith("Authorization")).encode() + b"\r\n")


def test_an_api_that_repeats_the_token_in_an_answer_does_not_get_it_believed(api: FakeApi) -> None:
    asking = ordered(api)
    (token,) = api._tokens
    api.faults.answers["/servers/wheels-01"] = {"location": token, "status": "live"}
    pi = asking.find("wheels-01")
    assert pi is not None and pi.location == "***"


def test_a_server_that_nobody_vouches_for_is_not_told_the_secret(api: FakeApi, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*made, "-keyout", tmp_path / "key.pem", "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=receive, args=(context, server, received), daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match="certificate"):
            Client(account(api, auth_url=f"https://127.0.0.1:{server.getsockname()[1]}/"), patience=0).servers()
        thread.join(10)
    assert received == []


def receive(context: ssl.SSLContext, server: socket.socket, received: list[bytes]) -> None:
    """What one client says after its handshake."""
    connection, _ = server.accept()
    with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
        said = secured.recv(2**16)
        received.extend([said] if said else [])


def test_netrc_does_not_take_the_tokens_place(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert client(api).servers() == {}


def test_the_token_is_not_sent_elsewhere(api: FakeApi) -> None:
    with FakeApi() as elsewhere:
        api.faults.elsewhere = elsewhere.url
        assert client(api).order("wheels-01", PI4) is None
        assert elsewhere.requests == []


def test_the_key_is_sent_unencrypted_to_nobody_but_this_machine() -> None:
    for url in ("http://api.example.org/", "http://192.168.1.2/", "http://[fd00::2]/"):
        with pytest.raises(Refused, match="only https"):
            Account("a-key", "hidden", api_url=url)
        with pytest.raises(Refused, match="only https"):
            Account("a-key", "hidden", auth_url=url)
    for url in ("http://localhost:8000/", "http://127.0.0.1/", "http://[::1]/", "https://api.example.org/"):
        Account("a-key", "hidden", auth_url=url, api_url=url)


def test_out_of_stock_is_told_from_an_api_that_is_away(api: FakeApi) -> None:
    api.faults.out_of_stock = {4}
    asking = client(api)
    with pytest.raises(OutOfStock):
        asking.order("wheels-01", PI4)
    api.faults.unavailable = 1
    with pytest.raises(Unreachable):
        asking.order("wheels-01", PI4)


def test_what_is_refused(api: FakeApi) -> None:
    asking = ordered(api)
    with pytest.raises(Refused, match="400: Invalid specification"):
        asking.order("wheels-02", Specification(model=4, memory=2048))
    with pytest.raises(Refused, match="400: Invalid model"):
        asking.images(5)
    with pytest.raises(NotReady, match="409: Server already exists"):
        asking.order("wheels-01", PI4)
    api.faults.forbidden = True
    with pytest.raises(NotAuthorised, match="permissions"):
        asking.servers()
    with pytest.raises(NotAuthorised, match="permissions"):
        asking.order("wheels-02", PI4)
    with pytest.raises(NotAuthorised):
        asking.find("wheels-01")


def test_a_pi_that_comes_to_nothing(api: FakeApi) -> None:
    api.faults.fails = {"wheels-01"}
    asking = client(api)
    place = asking.order("wheels-01", PI4)
    assert place
    with pytest.raises(ProvisioningFailed, match="500: Provisioning failed"):
        while asking.progress(place):
            time.sleep(0.01)
    with pytest.raises(NotFound):
        asking.progress(f"{place}99")


@pytest.mark.parametrize("fault", ["busy", "garbage", "huge", "unavailable"])
def test_what_may_pass_is_asked_again(api: FakeApi, fault: str) -> None:
    asking = client(api, patience=5.0, largest=2**16)
    for ask in (asking.servers, lambda: asking.find("wheels-01")):
        setattr(api.faults, fault, 3)
        assert not ask()
    setattr(api.faults, fault, 99)
    with pytest.raises(Unreachable):
        client(api, patience=0.1, largest=2**16).servers()


def test_an_api_that_asks_to_be_left_alone_is(api: FakeApi) -> None:
    api.faults.busy, api.faults.retry_after = 1, 9
    with pytest.raises(Unreachable, match="429: Too many requests"):
        client(api, patience=2.0).servers()
    assert len(api.requests) == 1
    api.faults.busy, api.faults.retry_after = 1, 1
    began = time.monotonic()
    assert client(api, patience=5.0).servers() == {}
    assert time.monotonic() - began > 1


def test_an_order_is_never_repeated(api: FakeApi) -> None:
    api.faults.lost_orders = 1
    with pytest.raises(Unreachable):
        client(api, patience=5.0).order("wheels-01", PI4)
    assert api.asked("POST", "servers") == 1
    assert list(api.pis) == ["wheels-01"]


def test_an_answer_without_end_is_not_read_to_the_end(api: FakeApi) -> None:
    api.faults.huge = 1
    with pytest.raises(Unreachable, match="larger than 65536 bytes"):
        client(api, largest=2**16).servers()


@pytest.mark.parametrize("fault", ["slow", "trickle"])
def test_a_request_ends_in_time(api: FakeApi, fault: str) -> None:
    """A byte each 50 ms keeps every socket's time-out waiting."""
    setattr(api.faults, fault, 0.05 if fault == "trickle" else 30)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no whole answer within 0\.3 s|timed out"):
        client(api, timeout=0.3).servers()
    assert time.monotonic() - began < 2


def test_an_api_that_is_not_there(api: FakeApi) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
        Client(account(api, auth_url="http://127.0.0.1:9/login"), interval=0.02, patience=0.1).servers()


def test_an_api_that_comes_back(api: FakeApi) -> None:
    api.faults.drop_every = 1
    later(0.2, lambda: setattr(api.faults, "drop_every", 0))
    assert client(api, patience=5.0).servers() == {}
