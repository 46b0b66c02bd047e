// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// @title Settlement: pays batches; an id is paid at most once, whatever nonce or batch carries it.
/// @notice Three kinds of item, told apart by the float wallet:
///         claim      float -> anyone           needs no signature, counted
///         withdrawal custodial -> anyone else  needs the payer's signature, counted
///         sweep      custodial -> float        needs the payer's signature, not counted
contract Settlement is AccessControl, Pausable, EIP712 {
    bytes32 public constant OPERATOR = keccak256("OPERATOR");
    bytes32 public constant GUARDIAN = keccak256("GUARDIAN");

    /// What `record` holds for an id that can never be paid.
    bytes32 public constant VOIDED = bytes32(uint256(1));

    bytes32 private constant PAYOUT_TYPEHASH =
        keccak256("Payout(bytes32 id,address from,address to,uint256 amount)");

    /// More than one item can use. With less left, the batch reverts: an item that ran out of gas
    /// would otherwise be reported as failed by an operator who merely sent too little.
    uint256 private constant ITEM_GAS = 120_000;

    struct Item {
        bytes32 id;
        address from;
        address to;
        uint256 amount;
        bytes32 r; // compact signature (EIP-2098); both words zero on a claim
        bytes32 vs;
    }

    struct Caps {
        uint256 batch;
        uint256 day;
    }

    struct Permit {
        address owner;
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    IERC20 public immutable token;

    /// Immutable, because whoever could name another float wallet could empty any wallet that has
    /// permitted this contract. A new float wallet means a new Settlement.
    address public immutable floatWallet;

    uint256 public maxItems;
    Caps public claimCaps;
    Caps public withdrawalCaps;

    /// Sums paid per day (block time / 1 day).
    mapping(uint256 day => uint256 amount) public claimedOn;
    mapping(uint256 day => uint256 amount) public withdrawnOn;

    /// id => keccak256(from, to, amount) once paid, VOIDED once voided, zero before either.
    mapping(bytes32 id => bytes32) public record;

    event Settled(bytes32 indexed id, address indexed from, address indexed to, uint256 amount);
    /// The id was paid or voided before; `conflict` says it was not this very payment.
    event Skipped(bytes32 indexed id, bool conflict);
    /// Nothing moved and the id is still free; `reason` is an ABI-encoded error.
    event Failed(bytes32 indexed id, bytes reason);
    event Voided(bytes32 indexed id);
    event CapsSet(uint256 maxItems, Caps claims, Caps withdrawals);

    error BadBatch();
    error StarvedOfGas();
    error BadSignature();
    error OverBatchCap();
    error OverDayCap();
    error TransferRefused();
    /// These two are never thrown; `settle` returns their selectors for items that it skips.
    error AlreadyPaid();
    error Conflict();

    constructor(
        IERC20 token_,
        address floatWallet_,
        address admin,
        uint256 maxItems_,
        Caps memory claims,
        Caps memory withdrawals
    ) EIP712("Settlement", "1") {
        token = token_;
        floatWallet = floatWallet_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _setCaps(maxItems_, claims, withdrawals);
    }

    /// @notice Pays every item that can be paid; each item ends in exactly one of Settled, Skipped
    ///         or Failed, and one that fails never stops the others.
    /// @return outcomes For a call that only tries a batch out, where events are not to be seen:
    ///         zero for an item that is paid, or the selector of the error that says why not.
    function settle(Item[] calldata items)
        external
        whenNotPaused
        onlyRole(OPERATOR)
        returns (bytes4[] memory outcomes)
    {
        if (items.length == 0 || items.length > maxItems) revert BadBatch();
        uint256 today = block.timestamp / 1 days;
        Caps memory claims = _left(claimCaps, claimedOn[today]);
        Caps memory withdrawals = _left(withdrawalCaps, withdrawnOn[today]);
        Caps memory sweeps = Caps(type(uint256).max, type(uint256).max);
        uint256 mayClaim = claims.day;
        uint256 mayWithdraw = withdrawals.day;
        outcomes = new bytes4[](items.length);

        for (uint256 i; i < items.length; ++i) {
            Item calldata item = items[i];
            if (gasleft() < ITEM_GAS) revert StarvedOfGas();
            if (item.from == floatWallet) {
                outcomes[i] = _pay(item, claims);
            } else if (!_isSignedByPayer(item)) {
                outcomes[i] = _fail(item, BadSignature.selector);
            } else {
                outcomes[i] = _pay(item, item.to == floatWallet ? sweeps : withdrawals);
            }
        }

        if (claims.day != mayClaim) claimedOn[today] += mayClaim - claims.day;
        if (withdrawals.day != mayWithdraw) withdrawnOn[today] += mayWithdraw - withdrawals.day;
    }

    /// @notice Fences ids that are to be refunded: a voided id can never be paid afterwards. An id
    ///         paid before is left as it is. Works while paused.
    function voidIds(bytes32[] calldata ids) external onlyRole(OPERATOR) {
        for (uint256 i; i < ids.length; ++i) {
            if (record[ids[i]] != 0) continue;
            record[ids[i]] = VOIDED;
            emit Voided(ids[i]);
        }
    }

    /// @notice Presents permits in favour of this contract. One that somebody sent before, or that
    ///         is void, does not stop the rest: the allowance is what counts.
    function permitMany(Permit[] calldata permits) external {
        for (uint256 i; i < permits.length; ++i) {
            Permit calldata p = permits[i];
            try
                IERC20Permit(address(token)).permit(
                    p.owner, address(this), p.value, p.deadline, p.v, p.r, p.s
                )
            {} catch {}
        }
    }

    function recordsOf(bytes32[] calldata ids) external view returns (bytes32[] memory records) {
        records = new bytes32[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            records[i] = record[ids[i]];
        }
    }

    function pause() external onlyRole(GUARDIAN) {
        _pause();
    }

    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    function setCaps(uint256 maxItems_, Caps calldata claims, Caps calldata withdrawals)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        _setCaps(maxItems_, claims, withdrawals);
    }

    function _setCaps(uint256 maxItems_, Caps memory claims, Caps memory withdrawals) private {
        maxItems = maxItems_;
        claimCaps = claims;
        withdrawalCaps = withdrawals;
        emit CapsSet(maxItems_, claims, withdrawals);
    }

    /// Pays one item out of what its caps leave, and lowers what is left. Returns zero once it is
    /// paid, or why not.
    function _pay(Item calldata item, Caps memory left) private returns (bytes4) {
        bytes32 want = keccak256(abi.encode(item.from, item.to, item.amount));
        bytes32 have = record[item.id];
        if (have != 0) {
            emit Skipped(item.id, have != want);
            return have == want ? AlreadyPaid.selector : Conflict.selector;
        }
        if (item.amount > left.batch) return _fail(item, OverBatchCap.selector);
        if (item.amount > left.day) return _fail(item, OverDayCap.selector);

        record[item.id] = want; // before the external call, so that a call back in finds it paid
        try token.transferFrom(item.from, item.to, item.amount) returns (bool ok) {
            if (ok) {
                left.batch -= item.amount;
                left.day -= item.amount;
                emit Settled(item.id, item.from, item.to, item.amount);
                return 0;
            }
        } catch (bytes memory thrown) {
            if (thrown.length >= 4) {
                record[item.id] = 0;
                emit Failed(item.id, thrown);
                return bytes4(thrown);
            }
        }
        record[item.id] = 0;
        return _fail(item, TransferRefused.selector);
    }

    function _fail(Item calldata item, bytes4 why) private returns (bytes4) {
        emit Failed(item.id, abi.encodeWithSelector(why));
        return why;
    }

    function _isSignedByPayer(Item calldata item) private view returns (bool) {
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(PAYOUT_TYPEHASH, item.id, item.from, item.to, item.amount))
        );
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, item.r, item.vs);
        return failure == ECDSA.RecoverError.NoError && signer == item.from;
    }

    /// Caps may be set below what was already paid today; then nothing is left.
    function _left(Caps memory caps, uint256 paid) private pure returns (Caps memory) {
        return Caps(caps.batch, caps.day > paid ? caps.day - paid : 0);
    }
}
