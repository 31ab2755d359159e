"""Sound events: a category from the name of a file, by rules that anyone can read and correct."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from egs.debian_packages.local.clips import Clip, write_flac
from egs.debian_packages.local.containers import cat_sounds, doom_sound, wad_lumps

PLACES = {
    "sonic-pi-samples": "usr/share/sonic-pi/samples",
    "hydrogen-drumkits": "usr/share/hydrogen/data/drumkits",
    "minetest-data": "usr/share/games/minetest",
    "hyperrogue-music": "usr/share/hyperrogue/sounds",
    "supertux-data": "usr/share/games/supertux2/sounds",
    "hedgewars-data": "usr/share/games/hedgewars/Data/Sounds",
    "sound-theme-freedesktop": "usr/share/sounds",
    "yaru-theme-sound": "usr/share/sounds",
    "lomiri-sounds": "usr/share/sounds",
}
_GAMES = "minetest|supertux|hedgewars|hyperrogue"
_THEMES = "lomiri|theme-sound|sound-theme"
_RULES: tuple[tuple[str, str, str], ...] = (
    # Package, pattern in the name, category: the first that fits; an empty one: no category.
    ("hydrogen", r"beats_", "drum_loop"),
    ("hydrogen", r"empty|loop", ""),
    ("hydrogen", r"kick|(^|[^a-z])b(ass)?d(rum)?([^a-z]|$)|(^|_)bd\d", "kick_drum"),
    ("hydrogen", r"snare|(^|[^a-z])sd?[_\d-]|rim|sidestick|(^|_)rs", "snare_drum"),
    ("hydrogen", r"hi?_?hat|hh|hat[_ ]|chh|ohh", "hi_hat"),
    ("hydrogen", r"crash|ride|cymbal|china|splash|sabian|paiste|(^|_)cc_|(^|_)rd", "cymbal"),
    ("hydrogen", r"tom", "tom_drum"),
    ("hydrogen", r"djembe|dunun|conga|bongo|cajon|tabla|sangban|kenken", "hand_drum"),
    ("hydrogen", r"clap|snap|bell|block|clave|agogo|tamb|shaker|triangle|stick", "percussion"),
    ("sonic-pi", r"^loop_", "drum_loop"),
    ("sonic-pi", r"^bd_|kick|drum_bass", "kick_drum"),
    ("sonic-pi", r"^sn_|snare", "snare_drum"),
    ("sonic-pi", r"cymbal|splash", "cymbal"),
    ("sonic-pi", r"tom", "tom_drum"),
    ("sonic-pi", r"^tabla_", "hand_drum"),
    ("sonic-pi", r"^perc_|cowbell|elec_(wood|triangle|bong|bell)", "percussion"),
    ("sonic-pi", r"^(ambi|bass|elec|glitch|mehackit|guit)_", "synthesizer"),
    ("minetest", r"footstep", "footstep"),
    ("minetest", r"door|gate|chest", "door"),
    ("minetest", r"dig|dug|place_node|tool_breaks", "digging"),
    (_GAMES, r"lava|^fire|_fire|flame|molotov|sizzle|ignite", "fire"),
    (_GAMES, r"water|splash|rain", "water"),
    (_GAMES, r"explo|boom|fireworks|firecracker|thunder|lightning",
     "explosion"),
    ("hyperrogue", r"^(opengate|closegate|trapdoor)", "door"),
    ("hyperrogue", r"^hit-", "weapon"),
    ("hyperrogue", r"^(bull|mousesqueak|seen-(eagle|frog|snake|woof))", "animal"),
    ("hyperrogue", r"^(seen-|die-|message-|orb-frog)", "creature_voice"),
    ("hyperrogue", r"^(pickup|levelup|tada|click|orb|heal)", "interface"),
    ("supertux", r"^(door|turnkey|locked)", "door"),
    ("supertux", r"coin|lifeup|upgrade|tada|bell|excellent|welldone|phone", "interface"),
    ("supertux", r"yeti|grunt|tree_(howling|suck)|hurt", "creature_voice"),
    ("hedgewars", r"gun|mortar|bazooka|sniper|minigun|shot|rifle|sword|bat$|whip|hammer", "weapon"),
    ("hedgewars", r"impact|mine|grenade|bomb", "explosion"),
    ("hedgewars", r"plane|helicopter|jetpack|steam|blowtorch|drill|pickhammer", "machine"),
    ("lomiri", r"ringtones", "ringtone"),
    (_THEMES, r"audio-channel", ""),
    (_THEMES, r"", "interface"),
    ("freedoom", r"^(dor|bd(opn|cls)|dbopn|dbcls|pst|stnmov)", "door"),
    ("freedoom", r"^(pistol|shotgn|sgcock|dshtgn|plasma|rlaunc|bfg|firsht|dbload)", "weapon"),
    ("freedoom", r"^(barexp|rxplod|firxpl|flam)", "explosion"),
    ("freedoom", r"^saw", "machine"),
    ("freedoom", r"(sit\d?|dth\d?|act|pain|pn|endt|pit)$", "creature_voice"),
    ("freedoom", r"^(swtch|itemup|wpnup|getpow|itmbk|tink|radio)", "interface"),
    ("opensfx", r"door", "door"),
    ("opensfx", r"train|engine|bus|truck|lorry|car\b|vehicle|tram|maglev|monorail", "vehicle"),
    ("opensfx", r"ship|ferry|plane|jet|helicopter|take.?off|landing|departure|horn", "vehicle"),
    ("opensfx", r"cow|sheep|horse|bird|lion|monkey|animal", "animal"),
    ("opensfx", r"explo|crash|breakdown|bomb|falling", "crash"),
    ("opensfx", r"saw|hammer|factory|machin|mine|drill|building|power|spark|pump", "machine"),
    ("opensfx", r"beep|click|cash|till|applause|pop", "interface"),
    ("opensfx", r"water|splash", "water"),
)  # fmt: skip


def files(folder: Path) -> Iterator[Clip]:
    """Find the sound files of all packages that have them."""
    for package, place in PLACES.items():
        root = folder / "unpacked" / package / place
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            known = path.suffix.lower() in (".ogg", ".oga", ".wav", ".flac")
            if known and not path.is_symlink() and "voices" not in inside.parts:
                yield _clip(folder, path, package, inside.with_suffix("").as_posix())


def doom_sounds(folder: Path) -> Iterator[Clip]:
    """Decode the sounds of Freedoom; its second part has those of the first again."""
    decoded = folder / "decoded" / "sounds" / "freedoom"
    for wad in sorted((folder / "unpacked" / "freedoom").rglob("freedoom2.wad")):
        for name, lump in wad_lumps(wad):
            sound = doom_sound(lump) if name.startswith("DS") else None
            if sound is not None:
                path = decoded / f"{name.removeprefix('DS').lower()}.flac"
                if not path.exists():
                    write_flac(path, *sound)
                yield _clip(folder, path, "freedoom", path.stem)


def transport_sounds(folder: Path) -> Iterator[Clip]:
    """Decode the sounds of OpenSFX; their titles say whose each is, and under what licence."""
    decoded = folder / "decoded" / "sounds" / "openttd-opensfx"
    for cat in sorted((folder / "unpacked" / "openttd-opensfx").rglob("*.cat")):
        for number, (title, samples, rate) in enumerate(cat_sounds(cat)):
            quoted = re.search(r'"([^"]*)"', title)
            name = quoted[1] if quoted else title.partition(".")[0]
            path = decoded / f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', name.lower())[:50]}.flac"
            if not samples.any():
                continue
            if not path.exists():
                write_flac(path, samples, rate)
            clip = _clip(folder, path, "openttd-opensfx", name.replace("/", " "))
            terms = title.partition("License: ")[2].strip(". ")
            yield replace(clip, labels={**clip.labels, "credit": title, "licence": terms})


def category(package: str, name: str) -> str:
    """Name the category of a sound; empty if no rule fits."""
    for packages, pattern, result in _RULES:
        if re.search(packages, package) and re.search(pattern, _last(package, name).lower()):
            return result
    return ""


def _last(package: str, name: str) -> str:
    # Names of ringtones say nothing, their folder does.
    return name if package == "lomiri-sounds" else name.rpartition("/")[2]


def _clip(folder: Path, path: Path, package: str, name: str) -> Clip:
    kind = category(package, name)
    # Takes of one sound (door.1, door.2; Snare-Soft, Snare-Hard) differ in what follows its name,
    # and kits share names.
    last = name.rpartition("/")[2]
    stem = re.sub(r"[ ._-]*(\d+|softest|soft|med|medium|hard|hardest)$", "", last, flags=re.I)
    labels = {"category": kind, "label": last, "collection": package}
    keys = (f"sound:{package}:{(stem or last).lower()}",)
    return Clip(path.relative_to(folder), package, "sounds", keys, f"sounds:{kind}", labels)
