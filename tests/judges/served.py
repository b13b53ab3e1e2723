"""A running nacre-serve."""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Served:
    """nacre-serve beside the program `nacre`, with models given as {name: {version: bundle or SavedModel}}."""

    def __init__(self, nacre, models, *options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nacre-served-"))
        config = ""
        for name, versions in models.items():
            for version, source in versions.items():
                self.publish(name, version, source)
            config += f'config {{ name: "{name}" base_path: "{self.folder / name}" model_version_policy {{ all {{}} }} }}\n'
        (self.folder / "models.config").write_text(f"model_config_list {{\n{config}}}\n")
        self.port, self.rest_port = free_port(), free_port()
        self.log = (self.folder / "log").open("w+")
        self.process = subprocess.Popen(
            [nacre.with_name("nacre-serve"), f"--port={self.port}", f"--rest_api_port={self.rest_port}",
             f"--model_config_file={self.folder / 'models.config'}", "--file_system_poll_wait_seconds=0.2", *options],
            stdout=self.log, stderr=self.log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def publish(self, name, version, source):
        """A version appears as a whole, as whoever follows the documentation makes it appear."""
        hidden = self.folder / name / f".{version}"
        hidden.parent.mkdir(exist_ok=True)
        if pathlib.Path(source).is_dir():
            shutil.copytree(source, hidden)
        else:
            hidden.mkdir()
            shutil.copy(source, hidden / "model.nacre")
        hidden.rename(self.folder / name / str(version))

    def _wait_until_ready(self):
        for _ in range(300):
            assert self.process.poll() is None, self.said()
            try:
                if self.rest("/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("not ready: " + self.said())

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def rest(self, path, body=None):
        """Status and body, as JSON where it is that."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                status, text = reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except json.JSONDecodeError:
            return status, text

    def stop(self):
        """Ends it as service managers do; the exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.log.close()
        shutil.rmtree(self.folder)
        return code
