"""python -m embedded try | serve | deploy"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    arguments = _parser().parse_args()
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embedded", description="An AWS on this machine.")
    commands = parser.add_subparsers(required=True)

    night = commands.add_parser(
        "try", help="one night of backups and a rehearsal; exit code 0 when every promise is kept"
    )
    night.add_argument("--keep", action="store_true", help="leave the embedded AWS running afterwards, until Ctrl-C")
    night.add_argument("--directory", type=Path, default=Path("build/try"), help="where report.json goes (build/try)")
    night.set_defaults(run=_try)

    serve = commands.add_parser("serve", help="run the embedded AWS until it is stopped")
    serve.add_argument("--data", type=Path, required=True, help="directory for its log, clock, volumes and databases")
    serve.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    serve.add_argument("--rate", type=float, default=1.0, help="embedded seconds per second (default 1)")
    serve.add_argument("--ends-with", type=int, metavar="PID", help="stop when this process is gone")
    serve.set_defaults(run=_serve)

    deploy = commands.add_parser("deploy", help="create or update every stack of a synthesised CDK assembly")
    deploy.add_argument("assembly", type=Path, help="the directory `cdk synth` wrote, usually cdk.out")
    deploy.add_argument("--endpoint", required=True, help="the embedded AWS, as http://127.0.0.1:PORT")
    deploy.add_argument("--cache", type=Path, help="where layers rebuilt for this machine are kept between runs")
    deploy.add_argument("--uv", help="the uv to install packages with that this interpreter does not have")
    deploy.set_defaults(run=_deploy)
    return parser


def _try(arguments: argparse.Namespace) -> None:
    from embedded.tryout.night import run

    raise SystemExit(run(keep=arguments.keep, directory=arguments.directory.resolve()))


def _serve(arguments: argparse.Namespace) -> None:
    from embedded.server import serve

    print(f"embedded AWS on http://127.0.0.1:{arguments.port}, log in {arguments.data}/embedded.log", flush=True)  # noqa: T201 - what the person at the terminal waits for
    serve(arguments.data, arguments.port, rate=arguments.rate, ends_with=arguments.ends_with)


def _deploy(arguments: argparse.Namespace) -> None:
    from embedded.deployer import deploy

    deploy(arguments.assembly, arguments.endpoint, cache=arguments.cache, uv=arguments.uv, say=print)


if __name__ == "__main__":
    main()
