// The engine has one session: whoever has the turn has the engine, until the transaction ends.

export class Turn {
  #owner = null
  #waiting = []

  get isFree() { return this.#owner === null }
  isOf(client) { return this.#owner === client }

  /** Resolves when the engine is the client's; first come, first served. */
  take(client) {
    if (this.#owner === client) return Promise.resolve()
    if (this.#owner === null) {
      this.#owner = client
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#waiting.push({ client, resolve }))
  }

  release(client) {
    if (this.#owner !== client) return
    const following = this.#waiting.shift()
    this.#owner = following ? following.client : null
    following?.resolve()
  }
}
