// The frames that the model saw: a player, the strip, and the large view.

const tilesOf = (frames) => frames.video + (frames.image ? 1 : 0);
const second = (frames, tile) => (frames.seconds[tile] === undefined ? null : `${d3.format(".1f")(frames.seconds[tile])} s`);

function nameOf(frames, tile) {
  if (tile >= frames.video) return "current observation";
  return `frame ${tile + 1} of ${frames.video}${second(frames, tile) ? `, ${second(frames, tile)}` : ""}`;
}

/** One frame, cut out of the sprite, with its map over it. */
function Tile({ frames, url, tile, drawn, sinks }) {
  const columns = frames.columns || tilesOf(frames);
  const place = `width:${100 * columns}%;left:${-100 * (tile % columns)}%;top:${-100 * Math.floor(tile / columns)}%`;
  return html`
    <span class="tile" style=${`aspect-ratio:${frames.width}/${frames.height}`}>
      ${url && html`<img src=${url} alt=${nameOf(frames, tile)} style=${place} decoding="async" draggable=${false} />`}
      ${drawn && html`<${Overlay} ...${{ frames, drawn, tile, sinks }} />`}
    </span>`;
}

/** A number that runs through the frames of the video while it plays. */
function usePlay(frames, start) {
  const [tile, setTile] = useState(start);
  const [playing, setPlaying] = useState(false);
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setInterval(() => setTile((now) => (now + 1 < frames.video ? now + 1 : 0)), 350);
    return () => clearInterval(timer);
  }, [playing, frames]);
  return { tile, setTile, playing, setPlaying };
}

function PlayButton({ play, frames }) {
  return frames.video > 1 && html`
    <button type="button" class="button play" aria-pressed=${play.playing} onClick=${() => play.setPlaying(!play.playing)}>
      ${play.playing ? "❚❚ pause" : "▶ play"}</button>`;
}

function Strip({ frames, url, drawn, sinks, first, peak, onOpen }) {
  const play = usePlay(frames, Math.min(first, tilesOf(frames) - 1));
  useLayoutEffect(() => {
    if (peak !== null && !play.playing) play.setTile(peak); // the player follows the chosen token
  }, [peak, drawn]);
  const pairs = d3.range(Math.ceil(frames.video / perPair(frames)));
  const tile = (number) => html`
    <button type="button" class=${`frame${number === play.tile ? " on" : ""}`} data-frame=${number} key=${number}
      title=${`${nameOf(frames, number)}: click for a large view`} onClick=${() => onOpen(number)} onFocus=${() => !play.playing && play.setTile(number)}>
      <${Tile} ...${{ frames, url, drawn, sinks, tile: number }} />
      <span class="when">${number < frames.video ? second(frames, number) ?? number + 1 : "now"}</span>
    </button>`;
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const at = Number(event.target.closest?.("[data-frame]")?.dataset.frame ?? NaN);
    if (!step || Number.isNaN(at)) return;
    event.currentTarget.querySelector(`[data-frame="${at + step}"]`)?.focus();
    event.preventDefault();
    event.stopPropagation();
  };
  return html`
    <div class="strip" onKeyDown=${move}>
      ${frames.video > 0 && html`<div class="player">
        <button type="button" class="frame" title="click for a large view" onClick=${() => onOpen(play.tile)} aria-label="large view">
          <${Tile} ...${{ frames, url, drawn, sinks, tile: play.tile }} /></button>
        <div class="playbar"><${PlayButton} ...${{ play, frames }} /><span class="muted num">${nameOf(frames, play.tile)}</span></div>
      </div>`}
      <ol class="pairs">
        ${pairs.map((pair) => html`
          <li class="pair" key=${pair}><div>${d3.range(pair * perPair(frames), Math.min((pair + 1) * perPair(frames), frames.video)).map(tile)}</div>
            <span class="pairname">pair ${pair + 1}</span></li>`)}
        ${frames.image && html`<li class="pair observation" key="observation"><div>${tile(frames.video)}</div><span class="pairname">current observation</span></li>`}
      </ol>
    </div>`;
}

/** The large view: a dialog that shows frame `state.frame`. */
function Large({ frames, url, drawn, sinks, frame, onMove }) {
  const dialog = useRef(null);
  const play = usePlay(frames, frame);
  const shown = Math.max(0, Math.min(play.playing ? play.tile : frame, tilesOf(frames) - 1));
  useLayoutEffect(() => {
    dialog.current.showModal();
    return () => dialog.current?.close();
  }, []);
  const move = (event) => {
    if (event.key === " ") play.setPlaying(!play.playing);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      play.setPlaying(false);
      onMove(Math.max(0, Math.min(shown + (event.key === "ArrowLeft" ? -1 : 1), tilesOf(frames) - 1)));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const toggle = { ...play, setPlaying: (on) => { if (on) play.setTile(shown); else onMove(shown); play.setPlaying(on); } };
  return html`
    <dialog ref=${dialog} class="large" aria-label="large view" onKeyDown=${move} onClose=${() => onMove(null)}
      onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
      <div class="largeframe" style=${`--ratio:${frames.width / frames.height}`}><${Tile} ...${{ frames, url, drawn, sinks, tile: shown }} /></div>
      <div class="playbar"><${PlayButton} ...${{ play: toggle, frames }} />
        <span class="num">${nameOf(frames, shown)}${shown < frames.video ? ` · pair ${Math.floor(shown / perPair(frames)) + 1}` : ""}</span>
        <span class="muted wide">← → frames, space plays</span>
        <button type="button" class="button" onClick=${() => dialog.current.close()}>close</button></div>
    </dialog>`;
}
