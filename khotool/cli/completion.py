"""``khotool completion``: a script that completes command lines in a shell.

The scripts are short: they ask khotool what may come next, so that ids, releases and paths of the
image on the command line are completed too.
"""

from __future__ import annotations

import argparse

EPILOG = """\
examples:
  eval "$(khotool completion bash)"                                        in ~/.bashrc
  eval "$(khotool completion zsh)"                                         in ~/.zshrc
  khotool completion fish > ~/.config/fish/completions/khotool.fish

Completes commands, options and their values, ids of rules and formats, releases, files, and paths
inside the image on the command line.
"""

BASH = r"""
_khotool() {
  local word="${COMP_WORDS[COMP_CWORD]}" kind line
  local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  # Quoted words are compared without their quotes.
  words=("${words[@]#[\"\']}"); words=("${words[@]%[\"\']}"); words=("${words[@]//\\/}")
  word="${word#[\"\']}"; word="${word//\\/}"
  COMPREPLY=()
  {
    read -r kind
    while IFS=$'\t' read -r line _; do COMPREPLY+=("$line"); done
  } < <("${COMP_WORDS[0]}" completion words -- "${words[@]}" 2>/dev/null)
  case "$kind" in
    file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    folder) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    path) compopt -o filenames -o nospace ;;
  esac
} 2>/dev/null
complete -F _khotool khotool
"""

ZSH = r"""
#compdef khotool
_khotool() {
  local line kind
  local -a typed=("${(@Q)words[2,CURRENT]}") found shown
  found=("${(@f)$($words[1] completion words -- "${typed[@]}" 2>/dev/null)}")
  kind=$found[1]; shift found
  case "$kind" in
    file) _files; return ;;
    folder) _files -/; return ;;
    path) compadd -S '' -- "${found[@]%%$'\t'*}"; return ;;
  esac
  for line in $found; do shown+=("${line/$'\t'/ -- }"); done
  (( $#found )) && compadd -l -d shown -- "${(@)found%%$'\t'*}"
}
if [ "$funcstack[1]" = _khotool ]; then _khotool; else compdef _khotool khotool; fi
"""

FISH = r"""
function __khotool_complete
    set -l words (commandline -opc) (commandline -ct | string unescape)
    test (count $words) -gt 1; or set words $words ''
    set -l found ($words[1] completion words -- $words[2..-1] 2>/dev/null)
    switch "$found[1]"
        case file
            __fish_complete_path $words[-1]
        case folder
            __fish_complete_directories $words[-1] ''
    end
    printf '%s\n' $found[2..-1]
end
complete -c khotool -f -a '(__khotool_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=(*SCRIPTS, "words"), metavar="SHELL", help="bash, zsh or fish"
    )
    # Used by the scripts: words of a command line, the last one possibly incomplete.
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Print the script, or what may come next."""
    from khotool.cli.output import write_text
    from khotool.errors import UsageError

    if args.shell == "words":
        from khotool.cli.complete import complete

        words = args.words[1:] if args.words[:1] == ["--"] else args.words
        kind, found = complete(words)
        rows = [f"{word}\t{' '.join(text.replace('%%', '%').split())}" for word, text in found]
        write_text("\n".join([kind, *rows]), args)
        return 0
    if args.words:
        raise UsageError(f"unexpected argument {args.words[0]!r}")
    write_text(SCRIPTS[args.shell].lstrip("\n"), args)
    return 0
