"""Print a script that completes commands, groups, options and keys in a shell.

usage: lightning-gen completion bash|zsh|fish

Examples:

  eval "$(lightning-gen completion bash)"          in ~/.bashrc
  eval "$(lightning-gen completion zsh)"           in ~/.zshrc, after compinit
  lightning-gen completion fish | source           in ~/.config/fish/config.fish

The words come from the configs of lightning-gen and the installed plugins, at each press of the Tab key. What is no
word of these, such as a path, is left to the shell.
"""

import shlex

from lightning_gen.cli.candidates import SHELLS, candidates
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

# Bash splits words at = and :, and replaces what follows the last of them.
BASH = r"""_lightning_gen() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n'
    local word=${line##*[[:space:]]}
    local head=${word%"${word##*[=:]}"}
    COMPREPLY=($(lightning-gen completion words "$line" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$head"}")
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=.] ]]; then compopt -o nospace; fi
}
complete -o default -F _lightning_gen lightning-gen
"""
ZSH = r"""_lightning_gen() {
    local -a found
    found=(${(f)"$(lightning-gen completion words "$LBUFFER" 2>/dev/null)"})
    if (( ${#found} )); then
        compadd -S '' -- ${(M)found:#*[=.]}
        compadd -- ${found:#*[=.]}
    else
        compset -P '*='
        _files
    fi
}
compdef _lightning_gen lightning-gen
"""
FISH = r"""function __lightning_gen
    lightning-gen completion words (commandline -cp) 2>/dev/null
end
complete -c lightning-gen -a '(__lightning_gen)'
"""
SCRIPTS = dict(zip(SHELLS, (BASH, ZSH, FISH), strict=True))


def run(arguments: list[str]) -> int:
    """Print the script of a shell; with `words LINE`, which it calls, what a command line can be completed to."""
    match arguments:
        case ["words", line]:
            print("\n".join(candidates(_split(line))))
        case [shell] if shell in SCRIPTS:
            print(SCRIPTS[shell], end="")
        case _:
            fix = did_you_mean(arguments[0], SHELLS) if len(arguments) == 1 else ""
            raise UserError(f"{' '.join(['completion', *arguments])}: give {', '.join(SHELLS)}{fix}")
    return 0


def _split(line: str) -> list[str]:
    """The words of a line after `lightning-gen`, the last one empty if a space ends the line."""
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote: nothing is completed
        return ["?", ""]
    return [*words[1:], *([""] if line[-1:].isspace() or len(words) < 2 else [])]
