#!/usr/bin/python
"""Ansible module: have a set of files, directories and links as they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Have a set of files, directories and links as they should be
description:
  - Does in one step what would take a task for each file. A step costs seconds on a small Pi, the files themselves nothing.
  - Each file is replaced in one rename, so that whoever reads it sees the old one or the new one.
  - Needs nothing but Python on the host.
options:
  entries:
    description: What there should be, in this order. Directories come before what lies in them.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where.
        type: path
        required: true
      state:
        description: What. With V(absent), a directory goes with all that is in it.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description: The whole text of a file. Required with O(entries[].state=file).
        type: str
      target:
        description: Where a link leads. Required with O(entries[].state=link).
        type: str
      mode:
        description: Permission bits, as octal digits. V(0644) for files and V(0755) for directories where it is left out.
        type: str
      owner:
        description: Whose it is. Without it, whoever provisions.
        type: str
      group:
        description: Which group's it is.
        type: str
      validate:
        description: A command that must accept a new text first; C(%s) stands for the file it is in.
        type: str
      secret:
        description: Whether the text must not be shown.
        type: bool
        default: false
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows each file before and after, but for secrets.
    support: full
"""

EXAMPLES = r"""
- name: Put the service's files in place
  host_files:
    entries:
      - {path: /etc/piwheels-builder, state: directory}
      - path: /etc/piwheels-builder/builder.yml
        content: "{{ lookup('ansible.builtin.template', 'builder.yml.j2') }}"
        mode: "0600"
"""

RETURN = r"""
changed_paths:
  description: What was, or would be, changed.
  returned: always
  type: list
"""

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "entries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
            "content": {"type": "str"},
            "target": {"type": "str"},
            "mode": {"type": "str"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "validate": {"type": "str"},
            "secret": {"type": "bool", "default": False},
        },
        "required_if": [("state", "file", ["content"]), ("state", "link", ["target"])],
    },
}


class Refused(Exception):
    """What an entry asks for cannot be; its words say why."""


@dataclass(frozen=True)
class Entry:
    """One thing that should be at ``path``, and how what is there differs from it."""

    path: Path
    state: str
    content: str
    target: str
    mode: int
    owner: int
    group: int
    validate: str | None
    secret: bool

    @classmethod
    def from_mapping(cls, fields: dict[str, Any], *, check_mode: bool) -> Entry:
        default = "0755" if fields["state"] == "directory" else "0644"
        path = Path(fields["path"])
        if not path.is_absolute():
            raise Refused(f"{path} is not an absolute path")
        try:
            mode = int(fields["mode"] or default, 8)
        except ValueError as error:
            raise Refused(f"{path}: {fields['mode']} is no mode; write octal digits, like 0644") from error
        return cls(
            path=path,
            state=fields["state"],
            content=fields["content"] or "",
            target=fields["target"] or "",
            mode=mode,
            owner=user_id(fields["owner"], check_mode=check_mode),
            group=group_id(fields["group"], check_mode=check_mode),
            validate=fields["validate"],
            secret=fields["secret"],
        )

    @property
    def there(self) -> os.stat_result | None:
        try:
            return self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def difference(self) -> dict[str, str] | None:
        """Before and after in words; None where all is as it should be."""
        before, after = self._seen(), self._wanted()
        if before == after:
            return None
        return {"before": self._told(before), "after": self._told(after), "before_header": str(self.path)}

    def put(self) -> None:
        """Make it so. Raises OSError, Refused."""
        if self.state == "absent":
            remove(self.path)
        elif self.state == "directory":
            self._put_directory()
        elif self.state == "link":
            self._put_link()
        else:
            self._put_file()

    def _seen(self) -> tuple[str, ...]:
        found = self.there
        if found is None:
            return ("absent",)
        if stat.S_ISLNK(found.st_mode):
            return ("link", str(self.path.readlink()))
        rights = (oct(stat.S_IMODE(found.st_mode)), str(found.st_uid), str(found.st_gid))
        if stat.S_ISDIR(found.st_mode):
            return ("directory", *rights)
        text = self.path.read_bytes().decode(errors="replace") if stat.S_ISREG(found.st_mode) else "no file"
        return ("file", *rights, text)

    def _wanted(self) -> tuple[str, ...]:
        rights = (oct(self.mode), str(self.owner), str(self.group))
        return {
            "absent": ("absent",),
            "link": ("link", self.target),
            "directory": ("directory", *rights),
            "file": ("file", *rights, self.content),
        }[self.state]

    def _told(self, what: tuple[str, ...]) -> str:
        if what[0] == "file":
            text = "(not shown)\n" if self.secret else what[4]
            return f"# {' '.join(what[1:4])}\n{text}"
        return " ".join(what) + "\n"

    def _put_directory(self) -> None:
        found = self.there
        if found is None:
            self.path.mkdir()
        elif not stat.S_ISDIR(found.st_mode):
            raise Refused(f"{self.path} is there, and is no directory: move it away")
        os.chown(self.path, self.owner, self.group)
        self.path.chmod(self.mode)

    def _put_link(self) -> None:
        self._refuse_directory()
        fresh = self.path.with_name(f".{self.path.name}.fresh")
        remove(fresh)
        fresh.symlink_to(self.target)
        fresh.replace(self.path)

    def _put_file(self) -> None:
        self._refuse_directory()
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(number, "wb") as fresh:
                fresh.write(self.content.encode())
                os.fchown(number, self.owner, self.group)
                os.fchmod(number, self.mode)
                fresh.flush()
                os.fsync(number)
            self._check(name)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _check(self, fresh: str) -> None:
        if self.validate is None:
            return
        command = [part.replace("%s", fresh) for part in shlex.split(self.validate)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Refused(f"{self.path}: {command[0]} does not accept the new text: {(done.stderr or done.stdout).strip()[-1000:]}")

    def _refuse_directory(self) -> None:
        found = self.there
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise Refused(f"{self.path} is there, and is a directory: move it away")


def user_id(name: str | None, *, check_mode: bool) -> int:
    if name is None:
        return os.geteuid()
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        # A dry run on a new host has made no user.
        if check_mode:
            return -1
        raise Refused(f"there is no user {name} on this host") from error


def group_id(name: str | None, *, check_mode: bool) -> int:
    if name is None:
        return os.getegid()
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        if check_mode:
            return -1
        raise Refused(f"there is no group {name} on this host") from error


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    diffs, changed = [], []
    try:
        for fields in module.params["entries"]:
            entry = Entry.from_mapping(fields, check_mode=module.check_mode)
            difference = entry.difference()
            if difference is None:
                continue
            if not module.check_mode:
                entry.put()
            diffs.append({**difference, "after_header": str(entry.path)})
            changed.append(str(entry.path))
    except Refused as error:
        module.fail_json(msg=str(error), changed_paths=changed)
    except OSError as error:
        module.fail_json(msg=f"a file could not be put in place: {error}", changed_paths=changed)
    module.exit_json(changed=bool(changed), changed_paths=changed, diff=diffs)


if __name__ == "__main__":
    main()
