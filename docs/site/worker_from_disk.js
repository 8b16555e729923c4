// Browsers start no workers on pages opened from disk, and the search of the site is one.  There its script runs in a
// hidden frame instead, which has the same two ways to talk: postMessage and the event "message".
if (location.protocol === "file:") {
  window.Worker = class {
    onmessage = null
    onerror = null
    onmessageerror = null

    constructor(url) {
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = (data) => {
        const message = new MessageEvent("message", { data: structuredClone(data) }) // what a worker sends is a copy
        queueMicrotask(() => this.onmessage?.(message))
      }
      const script = inside.document.createElement("script")
      this.loaded = new Promise((resolve) => {
        script.onload = resolve
        script.onerror = () => this.onerror?.(new Event("error", { cancelable: true }))
      })
      script.src = url
      inside.document.body.append(script)
    }

    postMessage(data) {
      const inside = this.frame.contentWindow
      const message = new MessageEvent("message", { data: structuredClone(data) })
      this.loaded.then(() => inside?.dispatchEvent(message))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
